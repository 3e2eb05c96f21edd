/** A conversation belongs to one session that lives (docs/agents.md, T104). Each task has one session at a time; this is what holds if it had two. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemRandom } from '../../../hub/base/random.ts'
import { mintGrant } from '../../../hub/guard/grant.ts'
import type { OperationName } from '../../../hub/protocol/operations.ts'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import { createTranscripts, type Transcripts } from '../../../hub/work/transcripts.ts'

let folder: string
let store: Store
let transcripts: Transcripts
const alive = new Set<string>()
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hub-talk-'))
  store = openStore(join(folder, 'hub.db'))
  migrate(store, shippedMigrations(), 1, () => undefined)
  alive.clear()
  transcripts = createTranscripts(
    { folder: join(folder, 'transcripts') },
    {
      store,
      clock: { wallMs: () => 1 },
      random: systemRandom,
      isLive: (id) => alive.has(id),
      onFault: (path, why) => expect([path, why]).toEqual([]),
    },
  )
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})

const grant = (operation: OperationName) =>
  mintGrant({
    ...{ operation, principal: { kind: 'agent', id: 'a' }, resource: 'session:s' },
    ...{ decisionId: 'd', narrow: {}, auditSeq: 1 },
  })
const session = (id: string) => {
  alive.add(id)
  return { id, task: 'one' }
}
async function put(of: { id: string; task: string }, text: string) {
  const sha256 = createHash('sha256').update(text).digest('hex')
  const arrived = await transcripts.receive(Readable.from([Buffer.from(text)]), sha256, 100)
  return store.transaction(() => transcripts.put(grant('transcript.put'), arrived, of))
}
async function take(of: { id: string; task: string }): Promise<string> {
  await transcripts.verify(of.task)
  const { stream } = store.transaction(() => transcripts.take(grant('transcript.get'), of))
  return (await stream.toArray()).join('')
}

test('a second live session of the same conversation is refused by name, to read it and to keep it, until the first is gone', async () => {
  const [first, second, third] = [session('s1'), session('s2'), session('s3')]
  await put(first, 'talk')
  await expect(take(second)).rejects.toMatchObject({
    code: 'conflict',
    message: 'the conversation of this task belongs to session s1, which still lives',
  })
  await expect(put(second, 'mine')).rejects.toMatchObject({ code: 'conflict' })
  alive.delete('s1')
  expect(await take(second)).toBe('talk')
  // The one that goes on with it has it before it has kept anything.
  await expect(take(third)).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('session s2') })
  await expect(put(third, 'mine')).rejects.toMatchObject({ code: 'conflict' })
  expect(await put(second, 'more')).toMatchObject({ size: 4 })
  expect(await take(second)).toBe('more')
})

test('what is larger than it may be leaves no file', async () => {
  await expect(put(session('s1'), 'x'.repeat(101))).rejects.toMatchObject({ code: 'too_large' })
  expect(transcripts.of('one')).toBeUndefined()
})

test('T104: what its transaction undid leaves no file, and the one that was kept before stays', async () => {
  const first = session('s1')
  await put(first, 'talk')
  const sha256 = createHash('sha256').update('more').digest('hex')
  const arrived = await transcripts.receive(Readable.from([Buffer.from('more')]), sha256, 100)
  expect(() =>
    store.transaction(() => {
      transcripts.put(grant('transcript.put'), arrived, first)
      throw new Error('database or disk is full')
    }),
  ).toThrow('disk is full')
  transcripts.discard(arrived)
  const files = readdirSync(join(folder, 'transcripts'), { recursive: true, withFileTypes: true })
  expect(files.filter((entry) => entry.isFile()).map(({ name }) => name)).toEqual([
    createHash('sha256').update('talk').digest('hex'),
  ])
  expect(await take(first)).toBe('talk')
})
