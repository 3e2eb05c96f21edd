/**
 * The `hub` command. Exit codes: 0 done, 1 fault, 2 usage, 3 refused, 4 unreachable or unavailable, 5 the task failed, 6 timed out,
 * 8 stopping, not written yet.
 * Results go to stdout, everything else to stderr. cli/line.ts runs the command line.
 */
import { runLine } from './cli/line.ts'
import { createTerminal } from './cli/terminal.ts'

const terminal = createTerminal(process.stdin, process.stdout, process.stderr)
process.exitCode = await runLine(process.argv.slice(2), process.env, terminal)
