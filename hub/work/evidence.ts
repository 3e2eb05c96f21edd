/**
 * What is kept of a session before it is destroyed for security (S1-66): `evidence/<session>-<instant>/`, folder 0700, files 0600.
 *
 * E1. The container is paused first, so it does not change while it is examined, and does nothing more.
 * E2. Each part is taken by itself and capped, in bytes and in time. A part that fails is named in the manifest, and never keeps the session
 *     from being destroyed. What the hub itself knows comes before what the engine has to be asked for.
 * E3. No secret is kept. The folder of secrets is never examined, and every part goes through the choke point (base/redaction.ts).
 * E4. The manifest is written last and names every file with its size and SHA-256. A bundle without one is not whole.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { sha256Hex } from '../base/canonical.ts'
import type { Clock } from '../base/clock.ts'
import { HubError, toHubError } from '../base/errors.ts'
import type { Redaction } from '../base/redaction.ts'
import type { AuditSearch } from '../guard/audit/search.ts'
import { assertStopGrant, type StopGrant } from '../guard/grant.ts'
import type { Delivery } from '../protocol/envelope.ts'
import { evidenceShape } from '../protocol/views-guard.ts'
import type { SessionRow } from './dispatch/rows.ts'
import type { Journal } from './journal.ts'
import type { Mailboxes } from './messages/mailboxes.ts'
import type { Engine } from './sandbox/engine.ts'

export interface EvidenceFile {
  name: string
  bytes: number
  sha256: string
  /** There was more. */
  cut: boolean
}
export interface EvidenceReport {
  /** Its folder; null if not even that could be made. */
  folder: string | null
  /** SHA-256 of its manifest; null if the bundle is not whole. */
  sha256: string | null
  files: EvidenceFile[]
  /** What could not be captured, and why. */
  faults: { part: string; reason: string }[]
}

/** A bundle, as its manifest describes it. */
export interface EvidenceBundle {
  folder: string
  session: string
  /** From its name, in epoch ms. */
  capturedAtMs: number
  /** The rest is unknown (null) if the bundle is not whole. */
  agent: string | null
  task: string | null
  why: string | null
  sha256: string | null
  files: number
  bytes: number
  /** `whole`: each file is as the manifest says. `changed`: one is not, or is gone. `unfinished`: without a manifest that can be read. */
  state: 'whole' | 'changed' | 'unfinished'
}

export interface Evidence {
  /** Pauses and captures. When the signal aborts, nothing more is waited for, and the manifest is written. Never throws. */
  capture(grant: StopGrant, session: SessionRow, how: { signal: AbortSignal; pauses: boolean }): Promise<EvidenceReport>
  /** The report of a whole bundle that an earlier run of the hub made of this session; undefined if there is none. */
  earlier(session: string): EvidenceReport | undefined
  /** The newest bundles, of this session or of all, at most `limit`. Each is compared with its manifest, file by file. */
  list(query: { session?: string | undefined; limit: number }): Promise<EvidenceBundle[]>
}

export const PART_BYTES_MAX = 4 * 1024 ** 2
const LOG_BYTES_MAX = 1024 ** 2
const RECORDS_MAX = 10_000
/** Of one part. An engine that hangs takes this from three parts at most, and the whole has its own bound. */
const PART_MS_MAX = 5000

/** `<session>-2026-11-30T210000123Z` */
const BUNDLE = /^(s[a-z2-7]{15})-(\d{4}-\d\d-\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/

/** Of what is restricted only that it was there (S1-63). */
const withoutRestricted = (delivery: Delivery) =>
  delivery.dataClass === 'restricted' ? { ...delivery, body: '[restricted]' } : delivery

const jsonLines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('')

/** What is read of a manifest. It lies on the disk, so anybody who may write there may have changed it. */
const manifestShape = z.object({
  session: z.string(),
  agent: z.string(),
  task: z.string(),
  why: z.string(),
  ...evidenceShape.pick({ files: true, faults: true }).shape,
})

export function createEvidence(
  options: { folder: string },
  parts: {
    /** Bounds each part. */
    clock: Pick<Clock, 'sleep'>
    /** The steady clock: retention judges ages by the names. */
    steady: Pick<Clock, 'wallMs'>
    engine: Pick<Engine, 'pause' | 'top' | 'inspect' | 'logs'>
    audit: AuditSearch
    journal: Journal
    mailboxes: Mailboxes
    redaction: Redaction
  },
): Evidence {
  const { clock, steady, engine, audit, journal, mailboxes, redaction } = parts

  /** Undefined if it failed, or took too long. Its late answer is thrown away. */
  async function taken<Result>(
    part: string,
    { faults, signal }: { faults: EvidenceReport['faults']; signal: AbortSignal },
    work: () => Promise<Result> | Result,
  ): Promise<Result | undefined> {
    const done = new AbortController()
    const either = AbortSignal.any([signal, done.signal])
    try {
      if (signal.aborted) throw new HubError('timed_out', 'there was no time left for it')
      const late = clock.sleep(PART_MS_MAX, either).then(() => {
        if (!done.signal.aborted) throw new HubError('timed_out', 'it took too long')
        return undefined
      })
      late.catch(() => undefined)
      return await Promise.race([Promise.resolve().then(work), late])
    } catch (thrown) {
      faults.push({ part, reason: toHubError(thrown).reason.slice(0, 300) })
      return undefined
    } finally {
      done.abort()
    }
  }

  function transcriptOf(session: SessionRow): string {
    const waiting = mailboxes.isOpen(session.id) ? mailboxes.take(session.id, 0) : []
    const said = journal.linesOf(session.task).map((line) => ({ what: 'log', ...line }))
    const progress = journal.progressOf(session.task)
    return jsonLines([
      ...said,
      ...(progress === undefined ? [] : [{ what: 'progress', ...progress }]),
      ...waiting.map(({ text }) => ({ what: 'unread', ...withoutRestricted(JSON.parse(text) as Delivery) })),
    ])
  }

  function namesOf(session: string | undefined): string[] {
    try {
      return readdirSync(options.folder).filter((name) => {
        const [, of] = BUNDLE.exec(name) ?? []
        return of !== undefined && (session === undefined || of === session)
      })
    } catch {
      return []
    }
  }

  /** Undefined without one that can be read. */
  function manifestOf(folder: string) {
    try {
      const bytes = readFileSync(join(folder, 'manifest.json'))
      return { ...manifestShape.parse(JSON.parse(bytes.toString('utf8'))), sha256: sha256Hex(bytes) }
    } catch {
      return undefined
    }
  }

  async function isAsWritten(folder: string, { name, sha256 }: EvidenceFile): Promise<boolean> {
    // A name that leads out of the folder is none of ours.
    if (name.includes('/')) return false
    const bytes = await readFile(join(folder, name)).catch(() => undefined)
    return bytes !== undefined && sha256Hex(bytes) === sha256
  }

  async function bundleOf(name: string): Promise<EvidenceBundle> {
    const folder = join(options.folder, name)
    const [, session = '', day, hour, minute, second, ms] = BUNDLE.exec(name) ?? []
    const about = { folder, session, capturedAtMs: Date.parse(`${day}T${hour}:${minute}:${second}.${ms}Z`) }
    const found = manifestOf(folder)
    if (found === undefined)
      return { ...about, agent: null, task: null, why: null, sha256: null, files: 0, bytes: 0, state: 'unfinished' }
    const { agent, task, why, files, sha256 } = found
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
    let state: EvidenceBundle['state'] = 'whole'
    for (const file of files) if (!(await isAsWritten(folder, file))) state = 'changed'
    return { ...about, agent, task, why, sha256, files: files.length, bytes, state }
  }

  return {
    async capture(grant, session, { signal, pauses }) {
      assertStopGrant(grant)
      const container = session.containerId ?? session.containerName
      const report: EvidenceReport = { folder: null, sha256: null, files: [], faults: [] }
      const { files, faults } = report
      const bound = { faults, signal }
      const capturedAtMs = steady.wallMs()
      const name = `${session.id}-${new Date(capturedAtMs).toISOString().replaceAll(/[:.]/g, '')}`
      const folder = join(options.folder, name)

      function keep(file: string, text: string): void {
        const whole = Buffer.from(redaction.piece(text))
        const bytes = whole.subarray(0, PART_BYTES_MAX)
        writeFileSync(join(folder, file), bytes, { flag: 'wx', mode: 0o600 })
        files.push({ name: file, bytes: bytes.length, sha256: sha256Hex(bytes), cut: bytes.length < whole.length })
      }
      async function part(file: string, work: () => Promise<string> | string): Promise<void> {
        const text = await taken(file, bound, work)
        if (text === undefined) return
        try {
          keep(file, text)
        } catch (thrown) {
          faults.push({ part: file, reason: toHubError(thrown).reason.slice(0, 300) })
        }
      }

      if (pauses) await taken('pause', bound, () => engine.pause(container))
      try {
        mkdirSync(folder, { mode: 0o700 })
      } catch (thrown) {
        faults.push({ part: 'folder', reason: toHubError(thrown).reason.slice(0, 300) })
        return report
      }
      report.folder = folder
      await part('session.json', () => JSON.stringify(session, null, 2))
      await part('transcript.jsonl', () => transcriptOf(session))
      await part('audit.jsonl', async () =>
        jsonLines(await audit.ofSession(session.id, { sinceMs: session.createdAtMs }, RECORDS_MAX)),
      )
      await part('processes.json', async () => JSON.stringify((await engine.top(container)) ?? null, null, 2))
      await part('inspect.json', async () => JSON.stringify((await engine.inspect(container)) ?? null, null, 2))
      await part('container.log', () => engine.logs(container, LOG_BYTES_MAX))
      try {
        const { id, agent, task, attempt, imageId, detail } = session
        const about = { version: 1, session: id, agent, task, attempt, imageId, capturedAtMs }
        const words = redaction.value({ why: detail, faults })
        const text = Buffer.from(`${JSON.stringify({ ...about, ...words, files }, null, 2)}\n`)
        writeFileSync(join(folder, 'manifest.json'), text, { flag: 'wx', mode: 0o600 })
        report.sha256 = sha256Hex(text)
      } catch (thrown) {
        faults.push({ part: 'manifest.json', reason: toHubError(thrown).reason.slice(0, 300) })
      }
      return report
    },

    earlier(session) {
      for (const name of namesOf(session).reverse()) {
        const folder = join(options.folder, name)
        const found = manifestOf(folder)
        if (found !== undefined) return { folder, sha256: found.sha256, files: found.files, faults: found.faults }
      }
      return undefined
    },

    async list({ session, limit }) {
      const newest = namesOf(session)
        .map((name) => ({ name, at: name.slice(name.indexOf('-')) }))
        .sort((a, b) => (a.at < b.at ? 1 : -1))
        .slice(0, limit)
      const bundles: EvidenceBundle[] = []
      for (const { name } of newest) bundles.push(await bundleOf(name))
      return bundles
    },
  }
}
