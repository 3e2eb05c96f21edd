import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ArtifactChecks, createArtifactChecks } from '../../../hub/work/artifact-checks.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
let folder: string
let looked: string[]
let checks: ArtifactChecks
const texts = ['a'.repeat(60), 'b'.repeat(60), 'c'.repeat(60), 'd'.repeat(60)]
const digests = texts.map(sha256).sort()

function write(digest: string, text: string): void {
  mkdirSync(dirname(checks.pathOf(digest)), { recursive: true })
  writeFileSync(checks.pathOf(digest), text)
}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ac-'))
  looked = []
  checks = createArtifactChecks(
    { folder, bytesPerRound: 100 },
    {
      digestsAfter: (after, limit) => digests.filter((digest) => digest > after).slice(0, limit),
      judged: (digest) => void looked.push(digest),
    },
  )
  for (const text of texts) write(sha256(text), text)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('S1-69: the scan reads so many bytes a round, goes on where it stopped, and begins anew at the end', async () => {
  expect(await checks.scan()).toEqual([])
  expect(looked).toEqual(digests.slice(0, 2))
  await checks.scan()
  expect(looked).toEqual(digests)
  await checks.scan()
  await checks.scan()
  expect(looked).toEqual([...digests, ...digests.slice(0, 2)])
})

test('S1-69: nothing is opened that was not hashed since it changed, and what was hashed is not hashed again', async () => {
  const [digest = ''] = digests
  expect(() => checks.open(digest)).toThrow('changed since it was checked')
  await checks.verify(digest)
  await checks.verify(digest)
  expect(looked).toEqual([digest])
  checks.open(digest).stream.destroy()
  write(digest, 'another text of another length')
  expect(() => checks.open(digest)).toThrow('changed since it was checked')
  await expect(checks.verify(digest)).rejects.toThrow('is damaged on disk')
  rmSync(checks.pathOf(digest))
  await expect(checks.verify(digest)).rejects.toThrow('is missing on disk')
})
