// A name service in Node, as the tutorial has it.
const http = require("http"), os = require("os");
const server = http.createServer((request, response) => response.end(`Ada (${os.hostname()})`));
server.listen(process.env.PORT ?? 3000);
process.on("SIGTERM", () => server.close());
