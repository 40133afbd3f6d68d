export { startServer } from "./server.ts";
export type { Server, ServerParts } from "./server.ts";
export { createNode, SendRefused } from "./node.ts";
export type { Node, NodeParts } from "./node.ts";
