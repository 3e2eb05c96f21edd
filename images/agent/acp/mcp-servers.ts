/** The hub's tools as an agent of the Agent Client Protocol is told of them, where its card asks for them (docs/agents.md, "MCP"). Pure. */
import type { McpWay } from '../../../hub/protocol/mcp-ways.ts'
import type { Fields } from '../stream-events.ts'

/** As `session/new` of version 1 names a server. */
export type McpServer =
  | { name: string; command: string; args: readonly string[]; env: readonly [] }
  | { type: 'http'; name: string; url: string; headers: readonly { name: string; value: string }[] }

const NODE = '/usr/local/bin/node'
/** The program that a CLI starts, as an image holds it. */
const PROGRAM = '/app/images/agent/mcp.js'

/** `told`: what the shim tells its program of them. */
export function serversOf(ways: readonly McpWay[], told: Readonly<Record<string, string>>): McpServer[] {
  const { HUB_MCP_URL: url, HUB_MCP_TOKEN: token } = told
  return [
    ...(ways.includes('stdio') ? [{ name: 'hub', command: 'node', args: [PROGRAM], env: [] as const }] : []),
    ...(ways.includes('http') && url !== undefined
      ? [{ type: 'http' as const, name: 'hub', url, headers: [{ name: 'Authorization', value: `Bearer ${token}` }] }]
      : []),
  ]
}

/** Each tool is offered once: the first way that the agent takes. Every agent takes stdio; of HTTP it says so. */
export const serversFor = ({ http }: Fields, offered: readonly McpServer[]): McpServer[] =>
  offered.filter((server) => !('type' in server) || http === true).slice(0, 1)

/** The same of version 2: of both ways the agent says that it takes them, each has its type, and a program is named by its whole path. */
export const draftServersFor = (takes: Fields, offered: readonly McpServer[]): object[] =>
  offered
    .map((server) => ('type' in server ? server : { ...server, type: 'stdio' as const, command: NODE }))
    .filter(({ type }) => typeof takes[type] === 'object' && takes[type] !== null)
    .slice(0, 1)
