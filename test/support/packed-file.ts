/** A packed folder whose pack is a file, for what stores or reads it whole. */
import { createWriteStream, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import * as packing from '../../hub/client/pack.ts'

export async function packFolder(dir: string, { tmpDir, ...limits }: packing.PackLimits & { tmpDir?: string }) {
  const packed = await packing.packFolder(dir, limits)
  const room = await mkdtemp(join(tmpDir ?? tmpdir(), 'hub-pack-'))
  const file = join(room, 'pack')
  await pipeline(packed.pack.content(), createWriteStream(file))
  const remove = async () => rmSync(room, { recursive: true, force: true })
  return { ...packed, pack: { ...packed.pack, file }, remove }
}
