# An nginx that returns a line, with its files in this folder.
cd "${0%/*}" || exit
paths=$(for what in client_body proxy fastcgi uwsgi scgi; do echo "${what}_temp_path $PWD;"; done)
exec nginx -p "$PWD" -c /dev/null -e stderr -g "
daemon off;
pid $PWD/$HOSTNAME.pid;
events {}
http {
    access_log off;
    $paths
    server { listen $PORT; return 200 'Ada (nginx)'; }
}"
