/**
 * Benchmarks: `npm run bench -- NAME [--json] [--rounds N] [--socket PATH]`, the socket that of another engine than the machine's. Text for people; with `--json` the last line of stdout is one flat JSON object.
 * Every figure that depends on the machine stands beside its raw baseline from the same run.
 */
import os from 'node:os'
import { parseArgs } from 'node:util'

export interface Figure {
  key: string
  value: number
  unit: string
  /** What exactly was measured. */
  text: string
}

/** `seconds`: how long a bench that watches for a span watches. `rounds`: how often a bench that kills the hub does so. */
interface Options {
  seconds?: number
  rounds?: number
}

const BENCHES: Readonly<
  Record<string, () => Promise<(say: (line: string) => void, options: Options) => Promise<Figure[]>>>
> = {
  dispatch: async () => (await import('./dispatch.ts')).benchDispatch,
  policy: async () => (await import('./policy.ts')).benchPolicy,
  messages: async () => (await import('./messages.ts')).benchMessages,
  flood: async () => (await import('./flood.ts')).benchFlood,
  history: async () => (await import('./history.ts')).benchHistory,
  safety: async () => (await import('./safety.ts')).benchSafety,
  operator: async () => (await import('./operator.ts')).benchOperator,
  egress: async () => (await import('./egress.ts')).benchEgress,
  agents: async () => (await import('./agents.ts')).benchAgents,
}

/** One row for each figure: key, value, unit, meaning. */
function tableOf(figures: readonly Figure[]): string {
  const width = Math.max(...figures.map(({ key }) => key.length))
  return figures
    .map(
      ({ key, value, unit, text }) => `${key.padEnd(width)}  ${String(value).padStart(8)} ${unit.padEnd(4)}  ${text}`,
    )
    .join('\n')
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      socket: { type: 'string' },
    },
    allowPositionals: true,
  })
  const load = BENCHES[positionals[0] ?? '']
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds)
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  const isOdd = (seconds !== undefined && !(seconds > 0)) || (rounds !== undefined && !(rounds >= 0))
  if (load === undefined || positionals.length !== 1 || isOdd) {
    process.stderr.write(
      `usage: npm run bench -- ${Object.keys(BENCHES).join('|')} [--json] [--seconds N] [--rounds N] [--socket PATH]\n`,
    )
    process.exitCode = 2
    return
  }
  // Before a bench is loaded: it reads this once, and so does each program that it starts.
  if (values.socket !== undefined) process.env.HUB_ENGINE_SOCKET = values.socket
  const say = (line: string) => process.stderr.write(`${line}\n`)
  say(
    `${os.availableParallelism()} x ${os.cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}, load ${os.loadavg()[0]?.toFixed(2)}`,
  )
  const figures = await (await load())(say, {
    ...(seconds === undefined ? {} : { seconds }),
    ...(rounds === undefined ? {} : { rounds }),
  })
  process.stdout.write(`${tableOf(figures)}\n`)
  if (values.json) {
    process.stdout.write(`${JSON.stringify(Object.fromEntries(figures.map(({ key, value }) => [key, value])))}\n`)
  }
}

await main()
