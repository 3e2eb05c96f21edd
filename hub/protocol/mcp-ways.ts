/** How the shim serves the hub's verbs as tools of MCP (docs/agents.md): the key `mcp` of a card. */
import { z } from 'zod'

const WAYS = ['stdio', 'http'] as const
export type McpWay = (typeof WAYS)[number]

export const mcpShape = z
  .array(
    z.enum(WAYS, {
      error: ({ input }) =>
        `${JSON.stringify(input)} is no way to reach MCP: there are stdio (a program that the CLI starts) and http (on loopback)`,
    }),
  )
  .min(1)
  .refine((list) => new Set(list).size === list.length, 'a way is there twice')

/** Why a card may not say this, or undefined. A session without egress has no streams of IPv4, so nobody could listen. */
export const mcpProblem = (mcp: readonly McpWay[] | undefined, egress: readonly unknown[]): string | undefined =>
  mcp?.includes('http') && egress.length === 0
    ? 'http needs a way out (may.egress): only a session with egress has a loopback to listen on; use stdio'
    : undefined
