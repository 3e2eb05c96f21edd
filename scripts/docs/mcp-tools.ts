/** The page of the tools that the shim offers over MCP. */
import { createTools, type ToolParts } from '../../images/agent/mcp/tools.ts'
import { fieldsOf } from './fields.ts'
import { code, page, table } from './markdown.ts'

export function mcpToolsPage(): string {
  // Made to be read: none is called.
  const tools = Object.entries(createTools({} as ToolParts))
  return page(
    'Tools of MCP',
    '`images/agent/mcp/tools.ts`',
    "What an agent's program finds where its card says `mcp`: the hub's verbs as tools. How a CLI is told of them: [docs/agents.md](../agents.md#mcp). Each call is the SDK's verb of that name, so the same rules, limits and records hold. An unknown key is refused. A refusal is an error of the tool: its [code](errors.md), why, and what to do.",
    ...tools.flatMap(([name, { does, input }]) => {
      const { fields } = fieldsOf(input)
      const rows = fields.map(({ path, type, usual, limit, means }) => [code(path), type, usual, limit, means])
      return [`## ${code(name)}`, does, table(['Key', 'Type', 'Default', 'Limit', 'Meaning'], rows)]
    }),
  )
}
