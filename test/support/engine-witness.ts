/** What the engine itself says ran: the starts and deaths of one instance's containers, heard from outside of hub and watchdog. */
import { request } from 'node:http'
import { ENGINE_SOCKET } from './engine-socket.ts'

export interface Run {
  container: string
  session: string
  task: string
  /** Wall milliseconds by the engine; `diedAt` is infinite while it runs. */
  startedAt: number
  diedAt: number
  /** Its deadline by the label it was made with, wall milliseconds. */
  expiresAt: number
}

export interface EngineWitness {
  /** Every run of a container, in the order of the starts. */
  readonly runs: readonly Run[]
  /** Tasks of which two containers ran at the same time, in words. */
  overlaps(): string[]
  close(): void
}

interface Event {
  Action: string
  timeNano: number
  Actor: { ID: string; Attributes: Record<string, string> }
}

/** Listens from now on. Resolves once the engine has taken the question. */
export function openEngineWitness(instance: string, engine = ENGINE_SOCKET): Promise<EngineWitness> {
  const runs: Run[] = []
  function hear({ Action, timeNano, Actor: { ID, Attributes: labels } }: Event): void {
    if (Action === 'die') {
      const run = runs.findLast(({ container }) => container === ID)
      if (run !== undefined) run.diedAt = timeNano / 1e6
    } else if (Action === 'start') {
      const [session, task] = [labels['hub.session'] ?? '', labels['hub.task'] ?? '']
      const expiresAt = Number(labels['hub.expires-at'])
      runs.push({
        container: ID,
        session,
        task,
        startedAt: timeNano / 1e6,
        diedAt: Number.POSITIVE_INFINITY,
        expiresAt,
      })
    }
  }
  const filters = encodeURIComponent(JSON.stringify({ label: [`hub.instance=${instance}`], type: ['container'] }))
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: engine, path: `/events?filters=${filters}` }, (answer) => {
      let open = ''
      answer.setEncoding('utf8').on('data', (piece: string) => {
        const lines = (open + piece).split('\n')
        open = lines.pop() ?? ''
        for (const line of lines) if (line.trim() !== '') hear(JSON.parse(line) as Event)
      })
      answer.on('error', () => undefined)
      resolve({ runs, overlaps: () => overlapsOf(runs), close: () => asked.destroy() })
    })
    asked.on('error', reject).end()
  })
}

/** Pure. */
export function overlapsOf(runs: readonly Run[]): string[] {
  return runs.flatMap((run, at) =>
    runs
      .slice(at + 1)
      .filter((other) => other.task === run.task && other.startedAt < run.diedAt && run.startedAt < other.diedAt)
      .map((other) => `task ${run.task} ran in ${run.session} and ${other.session} at once`),
  )
}
