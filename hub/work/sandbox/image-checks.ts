/**
 * What programs of the operator say of an image before an agent may run from it: who signed it, and what a scanner finds in it (S1-56).
 * Owns the table `image_check`.
 *
 * C1. A program gets its arguments as configured, no shell, none of the hub's environment, and names the image by its local id, which is
 *     the one that will run. Exit code 0 means that the image is as it should be; anything else does not.
 * C2. It has a deadline. Then it and all that it started are killed, which counts as a no. Of what it prints the beginning is kept.
 * C3. An answer is asked for once for each image, and again if the program or its arguments change, or the operator reloads the agents. Each is
 *     a record.
 * C4. `enforce` refuses the image, with the program's words; `warn` raises an alert and lets it run.
 */
import { spawn } from 'node:child_process'
import { z } from 'zod'
import { digestOf } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Redaction } from '../../base/redaction.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { Gate } from '../../guard/gate.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { spanShape } from '../../protocol/spans.ts'
import type { Store } from '../../store/database.ts'

const MODES = ['off', 'warn', 'enforce'] as const
const TIMEOUT_MS_MAX = 60_000

const checkShape = (what: string) =>
  z
    .strictObject({
      mode: z
        .enum(MODES)
        .default('off')
        .describe('`off`; `warn`: an image that fails is used, with an alert; `enforce`: it is refused'),
      run: z
        .array(z.string().regex(/^[^\0]{1,1024}$/, 'an argument is 1 to 1024 characters'))
        .min(1)
        .max(64)
        .refine(
          ([program = '']) => program.startsWith('/'),
          'the program is named by its whole path, such as /usr/local/bin/verify',
        )
        .optional()
        .describe(
          `the program ${what}, and its arguments; \`{id}\` in one stands for the id of the image, \`{image}\` for its name, \`{agent}\` for the agent. Exit code 0: the image is as it should be`,
        ),
      timeout: spanShape
        .refine((ms) => ms <= TIMEOUT_MS_MAX, 'its ceiling is 60s')
        .default(10_000)
        .describe('how long it may take; at most 60s'),
    })
    .superRefine(({ mode, run }, context) => {
      if (mode !== 'off' && run === undefined)
        context.addIssue({
          code: 'custom',
          path: ['mode'],
          message: `is ${mode}, and no program is set: name one in run, or say off`,
        })
    })
    .prefault({})

export const imagesShape = z.strictObject({
  signature: checkShape('that checks who signed an image').describe('who signed an image'),
  scan: checkShape('that looks for faults in an image').describe('what is wrong with an image'),
})
export type ImageSettings = z.output<typeof imagesShape>
type CheckName = keyof ImageSettings
const NAMES: readonly CheckName[] = ['signature', 'scan']

/** Which image of which agent. */
export interface Candidate {
  agent: string
  image: string
  id: string
}
/** Why it may not be used, and what is to be said of it although it may; empty where there is nothing. */
export interface Verdict {
  refused: string
  warning: string
}

export interface ImageChecks {
  /** Asks the programs that are set up. `again`: also those that have answered before. Never throws. */
  judge(candidate: Candidate, again: boolean): Promise<Verdict>
  /** These are all the agents that there are: what is open about an image of another one is over. */
  onlyFor(agents: ReadonlySet<string>): void
  /** Whether the program for signatures, as it is set up now, has passed this image. False while none is asked. */
  isSigned(imageId: string): boolean
}

interface Answer {
  passed: boolean
  reason: string
}

const CHECKER = hubPrincipal('image-checks')
/** The alert of an agent's image. */
const UNPROVEN = 'image_unproven:'
const PATH = '/usr/local/bin:/usr/bin:/bin'
const KEPT_CHARS = 4096
const REASON_MAX = 300
/** What it wrote is read to its end, unless something that it started holds the pipe open. */
const LAST_WORDS_MS = 200

const lineOf = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .toWellFormed()
    .slice(0, REASON_MAX)

/** Runs it to its end or to its deadline. Never throws. */
async function ask(
  { run = [], timeout }: ImageSettings[CheckName],
  { agent, image, id }: Candidate,
  clock: Pick<Clock, 'after' | 'sleep'>,
): Promise<Answer> {
  const filled = run.map((word) =>
    word.replaceAll(/\{(id|image|agent)\}/g, (_all, name: string) => ({ id, image, agent })[name] ?? ''),
  )
  const [program = '', ...words] = filled
  const env = { PATH, HUB_IMAGE: image, HUB_IMAGE_ID: id, HUB_AGENT: agent }
  // A group of its own, so that what it started ends with it.
  const child = spawn(program, words, { env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  const said = { out: '', err: '' }
  const closed = [child.stdout, child.stderr].map((stream, at) => {
    const key = at === 0 ? 'out' : 'err'
    stream.setEncoding('utf8')
    stream.on('data', (part: string) => {
      if (said[key].length < KEPT_CHARS) said[key] += part.slice(0, KEPT_CHARS)
    })
    return new Promise<void>((resolve) => void stream.once('close', resolve))
  })
  const endAll = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // None of it is left.
    }
  }
  let isLate = false
  const timer = clock.after(timeout, () => {
    isLate = true
    endAll()
  })
  const ending = await new Promise<{ code: number | null; why: string }>((resolve) => {
    child.once('error', (thrown) => resolve({ code: null, why: `it could not be started: ${thrown.message}` }))
    child.once('exit', (code, by) =>
      resolve({ code, why: code === null ? `it was ended by ${by}` : `exit code ${code}` }),
    )
  })
  timer.cancel()
  endAll()
  if (child.pid !== undefined) await Promise.race([Promise.all(closed), clock.sleep(LAST_WORDS_MS)])
  for (const stream of [child.stdout, child.stderr]) stream.destroy()
  if (isLate) return { passed: false, reason: `it took longer than ${timeout / 1000} s and was stopped` }
  const told = lineOf(said.err) || lineOf(said.out)
  return { passed: ending.code === 0, reason: told === '' ? ending.why : `${ending.why}: ${told}` }
}

export function createImageChecks(
  settings: ImageSettings,
  parts: {
    store: Store
    gate: Gate
    alerts: Pick<Alerts, 'raise' | 'resolve' | 'list'>
    clock: Pick<Clock, 'after' | 'sleep' | 'wallMs'>
    log: Log
    /** What a program says is stored and shown. */
    redaction: Pick<Redaction, 'piece'>
  },
): ImageChecks {
  const { store, gate, alerts, clock, log, redaction } = parts
  const find = store.prepare(
    'select run_digest as digest, passed, reason from image_check where check_name = ? and image_id = ?',
  )
  const put = store.prepare(
    `insert into image_check values (?, ?, ?, ?, ?, ?) on conflict (check_name, image_id) do update set
       run_digest = excluded.run_digest, passed = excluded.passed, reason = excluded.reason, at_ms = excluded.at_ms`,
  )

  /** One line of the program's, which may have been cut. */
  const masked = ({ passed, reason }: Answer): Answer => ({ passed, reason: redaction.piece(reason) })

  function keep(name: CheckName, { image, id }: Candidate, digest: string, { passed, reason }: Answer): void {
    try {
      gate.admit({ principal: CHECKER, operation: 'hub.observe', resource: `image:${id}` }, () => {
        put.run(name, id, digest, Number(passed), reason, clock.wallMs())
        return { auditEffect: `${name} of ${image}: ${passed ? 'passed' : 'failed'} (${reason})` }
      })
    } catch (thrown) {
      // It holds now, and is asked for again at the next start.
      log.error(
        { image, id, check: name, reason: toHubError(thrown).reason },
        'what a program said of an image could not be recorded',
      )
    }
  }

  /** What is kept of an answer, if the program is still called in the same way. */
  function knownOf(name: CheckName, imageId: string): Answer | undefined {
    const { run, timeout } = settings[name]
    const known = find.get(name, imageId) as { digest: string; passed: number; reason: string } | undefined
    if (known?.digest !== digestOf('hub-image-check-v1', { run, timeout })) return undefined
    // Kept by an earlier hub, it may be as the program said it.
    return masked({ passed: known.passed === 1, reason: known.reason })
  }

  async function answerOf(name: CheckName, candidate: Candidate, again: boolean): Promise<Answer | undefined> {
    const { mode, run, timeout } = settings[name]
    if (mode === 'off') return undefined
    const digest = digestOf('hub-image-check-v1', { run, timeout })
    const known = again ? undefined : knownOf(name, candidate.id)
    if (known !== undefined) return known
    const said = await ask(settings[name], candidate, clock).catch((thrown) => ({
      passed: false,
      reason: `it could not be started: ${toHubError(thrown).reason}`,
    }))
    const answer = masked(said)
    keep(name, candidate, digest, answer)
    return answer
  }

  return {
    onlyFor(agents) {
      for (const { cause } of alerts.list()) {
        const agent = cause.startsWith(UNPROVEN) ? cause.slice(UNPROVEN.length) : undefined
        if (agent !== undefined && !agents.has(agent)) alerts.resolve(cause, `There is no agent ${agent} any more.`)
      }
    },
    isSigned: (imageId) => settings.signature.mode !== 'off' && knownOf('signature', imageId)?.passed === true,
    async judge(candidate, again) {
      const { agent, image, id } = candidate
      const answers = await Promise.all(NAMES.map((name) => answerOf(name, candidate, again)))
      const failed = (mode: (typeof MODES)[number]) =>
        NAMES.flatMap((name, at) => {
          const answer = answers[at]
          return answer?.passed === false && settings[name].mode === mode
            ? [`the ${name} program says no: ${answer.reason}`]
            : []
        }).join('; ')
      const [refusal, warning] = [failed('enforce'), failed('warn')]
      const cause = `${UNPROVEN}${agent}` as const
      const named = `image ${image} (${id.slice(0, 19)})`
      if (warning === '')
        alerts.resolve(cause, `The image of agent ${agent} passes its checks, or is not asked about any more.`)
      else
        alerts.raise(
          cause,
          'warning',
          `Agent ${agent} runs from ${named}, and ${warning}. images in hub.yaml says warn, so it may.`,
        )
      return { refused: refusal === '' ? '' : `${named} is refused: ${refusal}`, warning }
    },
  }
}
