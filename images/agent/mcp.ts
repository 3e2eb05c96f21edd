/**
 * What a CLI starts as its MCP server: carries lines between its own standard streams and the shim, and reads none of them. In an image:
 * `node /app/images/agent/mcp.js`. Ends when either side does.
 */
import { connect } from 'node:net'
import { mcpSocket } from './mcp/place.ts'

const path = mcpSocket()
const shim = connect({ path, allowHalfOpen: true })
shim.on('error', (thrown) => {
  process.stderr.write(
    `mcp: the hub's tools are not there (${thrown.message}); the card of the agent must say \`mcp: [stdio]\`, and they are there only while its task runs\n`,
  )
  process.exit(1)
})
process.stdin.pipe(shim)
shim.pipe(process.stdout)
// Whoever started it has gone.
process.stdout.on('error', () => process.exit(0))
shim.on('close', () => process.exit(0))
