/** The folder of archives of registries: what its files may take of the disk, and what in it is not of the hub (E11). */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { upstreamsShape } from '../../../../hub/protocol/egress/upstreams.ts'
import { createArchives } from '../../../../hub/work/egress/archives.ts'

const [upstream] = upstreamsShape.parse({ npm: { kind: 'npm', url: 'http://127.0.0.1:9', local: true } })
if (upstream === undefined) throw new Error('no upstream')
const headOf = (path: string) => ({ host: 'url', path, method: 'GET', headers: [] }) as never
const STAYS = new AbortController().signal

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archives-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const create = (bytesMax = 400) =>
  createArchives({ folder, bytesMax: () => bytesMax, hasRoom: () => true, nowMs: () => 1000 })
type Archives = ReturnType<typeof create>

/** A download of an archive that its page names, under way. */
async function begin(archives: Archives, name: string, text: string) {
  const path = `/${name}/-/${name}-1.0.0.tgz`
  const hex = createHash('sha512').update(text).digest('hex')
  archives.named(upstream as never, [{ host: 'url', path, digest: { algorithm: 'sha512', hex } }])
  const keeper = await archives.keeper(upstream as never, headOf(path))
  if (keeper === undefined) throw new Error('it will not be kept')
  keeper.take(Buffer.from(text))
  return keeper
}
const onDisk = () => readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
const find = (archives: Archives, name: string, signal = STAYS) =>
  archives.find(upstream as never, headOf(`/${name}/-/${name}-1.0.0.tgz`), signal)

describe('archives on the disk', () => {
  it('two downloads of one archive that end at once count once', async () => {
    const archives = create()
    const both = [await begin(archives, 'one', 'x'.repeat(90)), await begin(archives, 'two', 'y')]
    both.push(await begin(archives, 'two', 'y'), await begin(archives, 'two', 'y'))
    await Promise.all(both.map((each) => each.end(true)))
    expect(archives.view()).toMatchObject({ archives: 2, bytes: 91 })
    expect(onDisk()).toBe(91)
  })

  it('downloads under way have a quarter of the whole together; what is beyond it is not kept, and its room comes back', async () => {
    const archives = create()
    const under: Awaited<ReturnType<typeof begin>>[] = []
    // One after the other: which of several is first to have its file open is the disk's to say.
    for (const name of ['a', 'b', 'c', 'd']) under.push(await begin(archives, name, name.repeat(60)))
    const ends = await Promise.all(under.map((each) => each.end(true)))
    expect(ends).toEqual(['kept', 'not kept', 'not kept', 'not kept'])
    for (const name of ['b', 'c', 'd', 'e']) await (await begin(archives, name, name.repeat(99))).end(name === 'e')
    expect(archives.view()).toMatchObject({ archives: 2, bytes: 159 })
    expect(onDisk()).toBe(159)
  })

  it('what else is in the folder stays, also where the folder is a link, and no link in it is followed', async () => {
    await (await begin(create(), 'one', 'first')).end(true)
    const [kept = ''] = readdirSync(folder)
    const other = mkdtempSync(join(tmpdir(), 'other-'))
    try {
      writeFileSync(join(other, 'target'), 'first')
      rmSync(join(folder, kept))
      symlinkSync(join(other, 'target'), join(folder, kept))
      mkdirSync(join(folder, 'photographs'))
      writeFileSync(join(folder, 'photographs', 'one'), 'mine')
      writeFileSync(join(folder, '12-3.part'), 'half')
      expect(await find(create(), 'one')).toBeUndefined()
      expect(readdirSync(folder)).toEqual(['photographs'])
      expect([existsSync(join(folder, 'photographs', 'one')), existsSync(join(other, 'target'))]).toEqual([true, true])
    } finally {
      rmSync(other, { recursive: true, force: true })
    }
  })

  it('one that nobody waits for is not read to its end, and stays', async () => {
    const archives = create()
    await (await begin(archives, 'one', 'first')).end(true)
    expect(await find(archives, 'one', AbortSignal.abort())).toBeUndefined()
    const found = await find(archives, 'one')
    expect(found?.bytes).toBe(5)
    await found?.close()
  })
})
