/** `hub.yaml`: one strict file. Every key has a stated default; an unknown or bad key stops the start, and the error names its line (house rule 3). */
import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { diskProblem } from './base/disk-words.ts'
import { HubError } from './base/errors.ts'
import { sharedFile } from './base/lines-files.ts'
import { isLogPlace, LOG_PLACE } from './base/log-place.ts'
import { FILE_BYTES_MAX, FILES_KEPT, FILES_KEPT_MAX } from './base/log-sink.ts'
import { textOfPlainFile } from './base/plain-file.ts'
import { LOG_LEVELS } from './base/telemetry.ts'
import { counts, limitsShape } from './config-limits.ts'
import { reachShape } from './edge/people/reach.ts'
import { alertsShape } from './guard/alerts/settings.ts'
import { auditShape } from './guard/forward/settings.ts'
import { waitsShape } from './guard/operator/approval-settings.ts'
import { policyShape } from './guard/policy/settings.ts'
import { budgetShape } from './protocol/budget.ts'
import { upstreamsShape } from './protocol/egress/upstreams.ts'
import { PROFILES } from './protocol/flags.ts'
import { type Fault, firstOf, judgeYaml } from './protocol/judging.ts'
import { secretFaults } from './protocol/misplaced-secrets.ts'
import { sizeShape, spanShape } from './protocol/spans.ts'
import { retentionShape } from './work/retention/settings.ts'
import { imagesShape } from './work/sandbox/image-checks.ts'
import { FIRST_USER, FIRST_USER_MIN, mayBegin, USERS } from './work/sandbox/users.ts'

const LOG_BYTES_MIN = 64 * 1024

const port = z.int().min(0).max(65_535)

const percent = z.number().min(0).max(50)
const diskShape = z
  .strictObject({
    warnPercent: percent
      .default(10)
      .describe("free room of the home's file system, in bytes or inodes, below which an alert is raised"),
    noNewTasksPercent: percent.default(5).describe('below which no new task is taken'),
    degradedPercent: percent.default(2).describe('below which the hub is degraded'),
    degradedBytes: sizeShape
      .default(200 * 1000 ** 2)
      .describe('degraded below this too, but never above `noNewTasksPercent` of a small disk'),
  })
  .refine(
    ({ warnPercent, noNewTasksPercent, degradedPercent }) =>
      warnPercent >= noNewTasksPercent && noNewTasksPercent >= degradedPercent,
    'the marks must fall in this order: warnPercent, noNewTasksPercent, degradedPercent',
  )

/** kata exists, and is refused by name (docs/sandbox.md 2). */
function supported(runtime: 'runc' | 'runsc' | 'kata'): 'runc' | 'runsc' {
  if (runtime !== 'kata') return runtime
  throw new HubError(
    'unsupported_mode',
    'engine.runtime: kata passes no socket of the host to its guest, so no agent could join; use runc or runsc',
  )
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '[::1]'])
/** Only this machine: what the hub sends elsewhere goes through addresses that are judged (guard/outward), and a collector passes spans on. */
const collectorShape = z
  .url({ protocol: /^http$/, error: 'must be an address, such as http://127.0.0.1:4318' })
  .max(200)
  .refine((text) => {
    if (!URL.canParse(text)) return true
    const { hostname, username, password, search, hash } = new URL(text)
    return LOOPBACK.has(hostname) && [username, password, search, hash].every((part) => part === '')
  }, 'must be on this machine, with host and port and without a password, such as http://127.0.0.1:4318: let a collector here pass the spans on')

const keysShape = z.strictObject({
  profile: z
    .enum(PROFILES)
    .default('standard')
    .describe(
      '`development`, `standard`, `production` or `strict`: what feature flags begin with, which of them are held, and how they may be changed (docs/safety.md 10)',
    ),
  logLevel: counts('now', z.enum(LOG_LEVELS).default('info').describe("how much goes into the hub's log")),
  log: counts(
    'now',
    z
      .strictObject({
        file: z
          .string()
          .min(1)
          .max(1000)
          .refine(isLogPlace, LOG_PLACE)
          .optional()
          .describe(
            'below `logs/` of the home, or absolute; without it, where the process was told to write its errors: `logs/hub.log` after `hub up`, the journal under systemd',
          ),
        maxSize: sizeShape
          .refine((bytes) => bytes >= LOG_BYTES_MIN, 'it must be at least 64KiB')
          .default(FILE_BYTES_MAX)
          .describe('beyond it the file becomes FILE.1, and a new one is begun; at least 64KiB'),
        keep: z.int().min(1).max(FILES_KEPT_MAX).default(FILES_KEPT).describe('how many earlier files stay'),
      })
      .prefault({})
      .describe('the file of the log; a journal and a pipe are not rotated'),
  ),
  /** The loopback listener: console, API, `/healthz`. 0 switches it off. */
  http: z
    .strictObject({ port: port.default(7300).describe('its port; 0 switches it off') })
    .prefault({})
    .describe('the listener on loopback: console, API, `/healthz`'),
  /** Numbers for Prometheus. */
  metrics: z
    .strictObject({ port: port.default(9134).describe('its port; 0 switches it off') })
    .prefault({})
    .describe('the metrics listener on loopback, `/metrics` for Prometheus'),
  /** Spans for a collector of this machine. */
  tracing: z
    .strictObject({
      endpoint: collectorShape
        .optional()
        .describe(
          'where the OpenTelemetry collector of this machine takes OTLP over HTTP; without it there are no traces',
        ),
      sample: z.number().min(0).max(1).default(1).describe('which part of all traces is kept; their ids decide'),
    })
    .prefault({})
    .describe('spans for an OpenTelemetry collector'),
  /** The names under which loopback is reached from outside. */
  reach: reachShape.prefault({}).describe('the names under which that listener is reached from outside'),
  engine: z
    .strictObject({
      socket: z.string().max(107).default('/var/run/docker.sock').describe('its socket'),
      runtime: z
        .enum(['runc', 'runsc', 'kata'])
        .default('runc')
        .transform(supported)
        .describe(
          '`runc`, or `runsc`, which is used only after a container has joined under it; `kata` is refused by name',
        ),
      callTimeout: spanShape.default(20_000).describe('deadline of each call to it'),
      /** Where the range of sessions' users begins (work/sandbox/users.ts). */
      firstUser: z
        .int()
        .refine(
          mayBegin,
          `sessions take ${USERS} user ids from here on: it must be at least ${FIRST_USER_MIN}, and the range must not include 65534 or 65535`,
        )
        .default(FIRST_USER)
        .describe(
          'each live session runs as a user of its own: this id and the 255 after it, which must belong to nobody on this machine. After a change build the images again: `node scripts/build-images.ts --home HOME`',
        ),
    })
    .prefault({})
    .describe('the container engine'),
  /** Signs of life of running sessions (S1-49). */
  health: counts(
    'next',
    z
      .strictObject({
        interval: spanShape
          .refine((ms) => ms >= 1000, 'it must be at least 1s')
          .default(30_000)
          .describe('how often a session owes one; at least 1s'),
        timeout: spanShape.default(5_000).describe('how late one may be'),
        failures: z.int().min(1).max(100).default(3).describe('how many it may owe in a row before it is recycled'),
      })
      .prefault({})
      .transform(({ interval, timeout, failures }) => ({
        intervalMs: interval,
        timeoutMs: timeout,
        failuresMax: failures,
      }))
      .describe('signs of life of running sessions'),
  ),
  limits: limitsShape,
  alerts: counts('now', alertsShape.prefault({}).describe('who is told')),
  approvals: counts('next', waitsShape.prefault({}).describe('what waits for you, by how much it can do')),
  images: counts(
    'now',
    imagesShape.prefault({}).describe('which programs of yours are asked before an agent runs from an image'),
  ),
  audit: auditShape.prefault({}).describe('where the audit log goes as well'),
  /** What agents may reach outside. Declared alone it lets nobody out: a card and the rules must grant it too. */
  upstreams: counts(
    'now',
    upstreamsShape
      .prefault({})
      .describe('what agents may reach outside, once a card asks for it and the rules grant it'),
  ),
  egress: counts(
    'now',
    z
      .strictObject({
        inSafe: z
          .boolean()
          .default(true)
          .describe(
            'whether running sessions go on reaching outside while the hub is in safe mode; false ends that at once',
          ),
        cacheBytes: z
          .union([z.literal(0), sizeShape], { error: 'must be a size, such as 2GiB, or 0 to keep none' })
          .meta({ unit: 'size' })
          .default(2 * 1024 ** 3)
          .describe(
            'how much of archives of registries is kept in `HOME/cache/archives`, for all agents that may read that upstream; 0 keeps none',
          ),
        taskBytes: sizeShape
          .default(256 * 1024 ** 2)
          .describe('bytes that a submitted task and everything below it may send outward, over all of its attempts'),
      })
      .prefault({})
      .describe('what holds for everything that agents reach outside'),
  ),
  budget: counts('now', budgetShape.prefault({}).describe('limits on money, tokens and calls of models')),
  policy: policyShape.prefault({}).describe('what is asked of the rules'),
  /** Of the home's file system: percent free below which an alert is raised, no new task is taken, the hub is degraded. */
  disk: counts('now', diskShape.prefault({}).describe("marks of the home's disk")),
  /** How long what is done is kept. */
  retention: counts('now', retentionShape.prefault({}).describe('how long what is done is kept')),
  shutdownTimeout: counts('now', spanShape.default(15_000).describe('how long agents may work on when told to finish')),
  /** After a longer time safe or stopped the backlog is held. */
  staleAfter: counts(
    'now',
    spanShape.default(12 * 3_600_000).describe('after a longer time safe or stopped, what was queued comes back held'),
  ),
})

/** What the profile `strict` demands of the rest of the file, and what it does not take (docs/safety.md flag-9). */
const strictShape = keysShape.superRefine(({ profile, policy }, context) => {
  if (profile !== 'strict') return
  const fault = (key: string, message: string) => context.addIssue({ code: 'custom', path: ['policy', key], message })
  if (policy.publicKey === undefined)
    fault('publicKey', 'is missing: the profile strict takes only signed rules; name the key of their signature')
  if (!policy.failClosed) fault('failClosed', 'is false, a relaxation that the profile strict does not take; remove it')
})

export const configShape = strictShape.superRefine(({ http, metrics, log, alerts, audit }, context) => {
  const shared = sharedFile({ log, alerts, audit }, '/HOME')
  if (shared !== undefined) context.addIssue({ code: 'custom', path: [...shared.key], message: shared.message })
  if (metrics.port === 0 || metrics.port !== http.port) return
  const message = `is ${metrics.port}, and so is http.port: each needs a port of its own, or 0`
  context.addIssue({ code: 'custom', path: ['metrics', 'port'], message })
})

export type Config = z.output<typeof configShape>

/** Empty if there is no file. */
function readConfigText(path: string): string {
  try {
    return textOfPlainFile(path) ?? ''
  } catch (thrown) {
    throw thrown instanceof HubError ? thrown : diskProblem(thrown, path)
  }
}

/**
 * Every fault of a text, with line, column and key; the configuration if there is none. `given`: what the text holds, before any default. A
 * secret in it is a fault too (S0-24). Throws only `unsupported_mode`.
 */
export function judgeConfig(text: string): { config: Config | undefined; given: unknown; faults: Fault[] } {
  const { value, given, faults, placeOf } = judgeYaml(text, configShape)
  const secret = secretFaults(given, placeOf)
  if (secret.length === 0) return { config: value, given, faults }
  const others = faults.filter(({ key }) => !secret.some((each) => each.key === key))
  return { config: undefined, given, faults: [...secret, ...others].sort((a, b) => a.line - b.line) }
}

/** The configuration that a text means. Throws `config_invalid` with file, line, column and key. */
export function configOf(text: string, path: string): Config {
  const { config, faults } = judgeConfig(text)
  if (config !== undefined) return config
  throw new HubError('config_invalid', `${path} ${firstOf(faults)}; correct it (hub config check shows all of it)`)
}

export interface ConfigRead {
  config: Config
  /** What it was read from. */
  text: string
}

/** Reads the file; absent means every default. Throws as `configOf`. */
export function readConfigFile(path: string): ConfigRead {
  const text = readConfigText(path)
  return { config: configOf(text, path), text }
}
export const readConfig = (path: string): Config => readConfigFile(path).config

/** How long a text that `hub restart` has judged waits for the new hub; after that the file counts again. */
const JUDGED_MS = 300_000

/**
 * What a start reads: the text that `hub restart` has just judged, if it left one (`run/judged.yaml`), else `hub.yaml`. If the file was
 * changed meanwhile, a note says so, and the watch of the file judges it next: what runs is what was judged (fault C3). Throws as `configOf`.
 */
export function takeConfig(home: string, nowMs: number): ConfigRead & { note: string | undefined } {
  const [path, handed] = [join(home, 'hub.yaml'), join(home, 'run', 'judged.yaml')]
  const left = statSync(handed, { throwIfNoEntry: false })
  if (left === undefined) return { ...readConfigFile(path), note: undefined }
  const text = readFileSync(handed, 'utf8')
  rmSync(handed, { force: true })
  if (Math.abs(nowMs - left.mtimeMs) > JUDGED_MS) return { ...readConfigFile(path), note: undefined }
  const isSame = readConfigText(path) === text
  const note =
    'hub.yaml was changed after `hub restart` had judged it; the hub started with the judged text, and judges the change next'
  return { config: configOf(text, path), text, note: isSame ? undefined : note }
}
