# An nginx that returns a line, with its files in this folder.
cd "${0%/*}" || exit
{
    echo "daemon off; pid $PWD/$PORT.pid; events {}"
    echo "http { access_log off; server { listen $PORT; return 200 'Ada (nginx)'; }"
    for what in client_body proxy fastcgi uwsgi scgi; do echo "${what}_temp_path $PWD;"; done
    echo "}"
} >"$PORT.conf"
exec nginx -p "$PWD" -c "$PORT.conf" -e stderr
