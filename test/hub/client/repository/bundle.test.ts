/** The bundle that goes in, by the real git: what it copies, and what is told of it. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type BundleLimits, bundleRepository } from '../../../../hub/client/repository/bundle.ts'
import { together } from '../../../../hub/client/repository/git.ts'
import { ANY_SIZE, type GitScene, gitScene } from '../../../support/git-scene.ts'

let scene: GitScene
let room: string
beforeEach(() => {
  scene = gitScene()
  room = mkdtempSync(join(tmpdir(), 'bundle-'))
})
afterEach(() => {
  scene.remove()
  rmSync(room, { recursive: true })
})

async function bundled(name: string, limits: Partial<BundleLimits> = {}) {
  const file = join(room, `${name}.bundle`)
  const facts = await bundleRepository(scene.dir, 'HEAD', join(room, name), file, { ...ANY_SIZE, ...limits })
  return { ...facts, bytes: statSync(file).size }
}

test('looks for no deltas, and copies those that git has found', async () => {
  const text = randomBytes(100_000)
  scene.write('large', text)
  scene.commit({})
  scene.write('large', Buffer.concat([text, Buffer.from('1')]))
  scene.commit({})
  expect((await bundled('loose')).bytes).toBeGreaterThan(200_000)
  scene.git('gc', '--quiet')
  expect((await bundled('packed')).bytes).toBeLessThan(110_000)
})

test('is not written past its limit, however little its objects take where they are: deltas of what is not sent are written whole', async () => {
  const text = randomBytes(100_000)
  // The largest comes first, so all others are deltas of it.
  scene.write('base', Buffer.concat([text, Buffer.from('the longest')]))
  for (let nth = 0; nth < 15; nth += 1) scene.write(`f${nth}`, Buffer.concat([text, Buffer.from(`${nth}`)]))
  scene.commit({})
  scene.git('repack', '-adfq', '--depth=1', '--window=50')
  scene.git('rm', '--quiet', 'base')
  scene.git('checkout', '--quiet', '--orphan', 'alone')
  scene.commit({})
  const told: number[] = []
  await expect(bundled('bomb', { bytesMax: 1e6, foreseen: (bytes) => told.push(bytes) })).rejects.toThrow(
    /^\d{7} bytes$/,
  )
  expect(told[0]).toBeLessThan(110_000)
  expect(statSync(join(room, 'bomb.bundle')).size).toBeLessThanOrEqual(1e6)
})

test('tells commits, keys and pointers, also of commits that were merged', async () => {
  scene.commit({ 'read.me': 'one\n' })
  scene.git('switch', '--quiet', '-c', 'side')
  scene.commit({ 'model.bin': 'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', '.env': 'A=1\n' })
  scene.git('switch', '--quiet', 'main')
  scene.commit({ 'kept/text': '-----BEGIN RSA PRIVATE KEY-----\n' })
  scene.git('merge', '--quiet', '-m', 'both', 'side')
  scene.git('rm', '--quiet', '.env')
  scene.commit({})
  expect(await bundled('merged')).toMatchObject({
    ...{ commits: 5, files: 3, pointers: ['model.bin'], uncommitted: [] },
    secrets: [
      { path: 'kept/text', why: 'it holds a private key', past: false },
      { path: '.env', past: true },
    ],
  })
})

test('what runs side by side has ended when the first failure is told', async () => {
  const slow = Promise.withResolvers<void>()
  const told: string[] = []
  const failing = together([
    slow.promise.then(() => {
      told.push('slow')
      throw new Error('the first in the row')
    }),
    Promise.reject(new Error('the first in time')),
  ]).catch((thrown: Error) => told.push(thrown.message))
  await Promise.resolve()
  slow.resolve()
  await failing
  expect(told).toEqual(['slow', 'the first in the row'])
  expect(await together([Promise.resolve(1), Promise.resolve('two')])).toEqual([1, 'two'])
})
