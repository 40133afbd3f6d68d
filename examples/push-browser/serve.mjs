// Serves the page and its worker, bundled. An app has its own bundler for that.
import { fileURLToPath } from "node:url";

const at = (name) => fileURLToPath(new URL(name, import.meta.url));

async function bundle(name) {
  const { outputs } = await Bun.build({ entrypoints: [at(name)], target: "browser" });
  return new Response(outputs[0], { headers: { "content-type": "text/javascript" } });
}

const server = Bun.serve({
  hostname: "localhost", // a secure context, as service workers need
  port: Number(process.env.PORT ?? 3000),
  routes: {
    "/": new Response(Bun.file(at("index.html"))),
    "/page.js": () => bundle("page.ts"),
    "/worker.js": () => bundle("worker.ts"),
  },
});
console.log(`page at ${server.url.origin}`);
