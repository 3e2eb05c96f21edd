/** The process that builds an image (scripts/build-agent.ts): what came of it, in words, and how it is stopped. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { spanText } from '../../../protocol/spans.ts'
import { Problem } from '../../problem.ts'
import type { Context } from '../context.ts'
import { engineSocketOf } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { type AgentFolder, CHECKOUT } from './folder.ts'
import { linkSdk } from './new.ts'

/** Of an image of many GB from another one that has to be passed through. */
const BUILD_MS = 1_800_000

export interface BuiltImage {
  name: string
  id: string
  state: 'built' | 'present'
  /** What the person who builds should know: what it lacks, what of another image does not hold. */
  notes: readonly string[]
  /** The image that it is made from, if it is made from one. */
  from?: { name: string }
  /** What was installed into it. */
  packages?: readonly string[]
}

/** The exit code of a command that Ctrl-C ended, and of the process that builds. */
export const INTERRUPTED = 130
/** What its last line begins with. */
const FAULT = 'build-agent: '

/** The build was stopped, and has taken back what it had made. */
export class BuildStopped extends Error {}

const notBuilt = (name: string, why: string): Problem =>
  new Problem('image_missing', 'refused', `${name} was not built: ${why}`, 'fix that and build again')

/**
 * Assembles and loads the image in a separate process, which `stop` ends. Its installers are of its group, so that none goes on without it.
 * @throws Problem with what it says; BuildStopped
 */
export function buildImage(
  context: Context,
  { folder, card }: AgentFolder,
  image: string,
  { from, stop }: { from?: string | undefined; stop?: AbortSignal } = {},
): Promise<BuiltImage> {
  linkSdk(folder)
  const { home, terminal } = context
  const argv = [
    ...[path.join(CHECKOUT, 'scripts', 'build-agent.ts'), folder, '--name', card.name, '--image', image, '--json'],
    ...['--socket', engineSocketOf(pathsOf(home)), '--home', home],
    ...(from === undefined ? [] : ['--from', from]),
  ]
  terminal.live(`assembling ${image}`)
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    let isLate = false
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
      } catch {
        // It has ended meanwhile.
      }
    }
    const late = setTimeout(() => {
      isLate = true
      end()
    }, BUILD_MS)
    stop?.addEventListener('abort', end, { once: true })
    if (stop?.aborted) end()
    let [out, said] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      out += piece
    })
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      said += piece
      const line = piece.trimEnd().split('\n').at(-1) ?? ''
      if (line.startsWith('loading ')) terminal.live(line)
    })
    child.on('error', (thrown) => reject(notBuilt(card.name, thrown.message)))
    child.on('close', (code, signal) => {
      clearTimeout(late)
      stop?.removeEventListener('abort', end)
      terminal.live('')
      const own = said.split('\n').findLast((line) => line.startsWith(FAULT))
      if (code === 0) resolve(JSON.parse(out) as BuiltImage)
      else if (isLate) reject(notBuilt(card.name, `it took more than ${spanText(BUILD_MS)}, and was stopped`))
      else if (code === INTERRUPTED) reject(new BuildStopped(`the build of ${card.name} was stopped`))
      else if (own !== undefined) reject(notBuilt(card.name, own.slice(FAULT.length)))
      else {
        const why = signal === null ? `its process ended with code ${code}` : `its process was killed (${signal})`
        const last = said.trim().split('\n').at(-1) ?? ''
        const words = last === '' ? '' : `; it last said: ${last}`
        reject(notBuilt(card.name, `${why}${words}; what it had begun, the next build removes`))
      }
    })
  })
}

/** Does `work`, with a signal that Ctrl-C and other ways to end this command abort; `said` is called at once. */
export async function untilStopped<Result>(said: () => void, work: (stop: AbortSignal) => Promise<Result>) {
  const stopping = new AbortController()
  const stop = () => {
    said()
    stopping.abort()
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, stop)
  try {
    return await work(stopping.signal)
  } finally {
    for (const signal of signals) process.off(signal, stop)
  }
}
