/**
 * What is kept of a session before it is destroyed for security (S1-66): `evidence/<session>-<instant>/`, folder 0700, files 0600.
 *
 * E1. The container is paused first, so it does not change while it is examined, and does nothing more.
 * E2. Each part is taken by itself and capped. A part that fails is named in the manifest, and never keeps the session from being
 *     destroyed.
 * E3. No secret is kept. The folder of secrets is never examined, and every part goes through the choke point (base/redaction.ts).
 * E4. The manifest is written last and names every file with its size and SHA-256. A bundle without one is not whole.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256Hex } from '../base/canonical.ts'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import type { Redaction } from '../base/redaction.ts'
import type { AuditSearch } from '../guard/audit/search.ts'
import { assertStopGrant, type StopGrant } from '../guard/grant.ts'
import type { Delivery } from '../protocol/envelope.ts'
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
  files: EvidenceFile[]
  /** What could not be captured, and why. */
  faults: { part: string; reason: string }[]
}

export interface Evidence {
  /** Pauses and captures. Never throws. */
  capture(grant: StopGrant, session: SessionRow): Promise<EvidenceReport>
}

export const PART_BYTES_MAX = 4 * 1024 ** 2
const LOG_BYTES_MAX = 1024 ** 2
const RECORDS_MAX = 10_000

/** Of what is restricted only that it was there (S1-63). */
const withoutRestricted = (delivery: Delivery) =>
  delivery.dataClass === 'restricted' ? { ...delivery, body: '[restricted]' } : delivery

const jsonLines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('')

export function createEvidence(
  options: { folder: string },
  parts: {
    /** The steady clock: retention judges ages by the names. */
    clock: Pick<Clock, 'wallMs'>
    engine: Pick<Engine, 'pause' | 'top' | 'inspect' | 'logs'>
    audit: AuditSearch
    journal: Journal
    mailboxes: Mailboxes
    redaction: Redaction
  },
): Evidence {
  const { clock, engine, audit, journal, mailboxes, redaction } = parts

  async function taken(part: string, faults: EvidenceReport['faults'], work: () => unknown): Promise<unknown> {
    try {
      return await work()
    } catch (thrown) {
      faults.push({ part, reason: toHubError(thrown).reason.slice(0, 300) })
      return undefined
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

  return {
    async capture(grant, session) {
      assertStopGrant(grant, 'session.quarantine')
      const container = session.containerId ?? session.containerName
      const faults: EvidenceReport['faults'] = []
      const files: EvidenceFile[] = []
      const name = `${session.id}-${new Date(clock.wallMs()).toISOString().replaceAll(/[:.]/g, '')}`
      const folder = join(options.folder, name)

      function keep(file: string, text: string): void {
        const whole = Buffer.from(redaction.piece(text))
        const bytes = whole.subarray(0, PART_BYTES_MAX)
        writeFileSync(join(folder, file), bytes, { flag: 'wx', mode: 0o600 })
        files.push({ name: file, bytes: bytes.length, sha256: sha256Hex(bytes), cut: bytes.length < whole.length })
      }
      async function part(file: string, work: () => Promise<string> | string): Promise<void> {
        await taken(file, faults, async () => keep(file, await work()))
      }

      await taken('pause', faults, () => engine.pause(container))
      const made = await taken('folder', faults, () => {
        mkdirSync(folder, { mode: 0o700 })
        return true
      })
      if (made === undefined) return { folder: null, files, faults }
      await part('session.json', () => JSON.stringify(session, null, 2))
      await part('processes.json', async () => JSON.stringify(await engine.top(container), null, 2))
      await part('inspect.json', async () => JSON.stringify(await engine.inspect(container), null, 2))
      await part('container.log', () => engine.logs(container, LOG_BYTES_MAX))
      await part('audit.jsonl', async () =>
        jsonLines(await audit.ofSession(session.id, session.createdAtMs, RECORDS_MAX)),
      )
      await part('transcript.jsonl', () => transcriptOf(session))
      await taken('manifest.json', faults, () => {
        const { id, agent, task, attempt, imageId } = session
        const about = { version: 1, session: id, agent, task, attempt, imageId, capturedAtMs: clock.wallMs() }
        const text = JSON.stringify({ ...about, files, faults }, null, 2)
        writeFileSync(join(folder, 'manifest.json'), `${text}\n`, { flag: 'wx', mode: 0o600 })
      })
      return { folder, files, faults }
    },
  }
}
