// As the tutorial's: it asks both, at the same time.
const http = require("http"), os = require("os");
const ask = async (url) => (await fetch(url)).text();
const server = http.createServer(async (request, response) => {
  if (request.url === "/health") return response.end("ok");
  try {
    const { GREETING_URL, NAME_URL } = process.env;
    const [greeting, name] = await Promise.all([ask(GREETING_URL), ask(NAME_URL)]);
    response.end(`From ${os.hostname()}: ${greeting} ${name}`);
  } catch (error) {
    response.writeHead(502).end(String(error.cause ?? error));
  }
});
server.listen(process.env.PORT);
process.on("SIGTERM", () => server.close());
