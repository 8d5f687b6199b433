// As the tutorial's: it says the host's name, which is the same for all tasks of a mesh.
const http = require("http"), os = require("os");
const server = http.createServer((request, response) => response.end(`Ada (${os.hostname()})`));
server.listen(process.env.PORT);
process.on("SIGTERM", () => server.close());
