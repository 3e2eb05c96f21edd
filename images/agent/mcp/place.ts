/** Where a session's MCP server is reached. The variables are only for tests of the shim outside of a container. */

/** A folder of the session alone, in its private `/tmp`. */
export const mcpFolder = (): string => process.env.HUB_AGENT_MCP ?? '/tmp/mcp'
export const mcpSocket = (): string => `${mcpFolder()}/hub.sock`
/** Beside the port of the way out. */
export const mcpPort = (): number => Number(process.env.HUB_MCP_PORT ?? 47_081)
