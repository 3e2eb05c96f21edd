/** What dockerode brings along and the hub never uses is not installed, and whoever reaches for it fails by name (T99). */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import Docker from 'dockerode'
import { expect, test } from 'vitest'
import { repositoryRoot } from '../../../house/source.ts'

const ABSENT = ['@grpc/grpc-js', '@grpc/proto-loader', 'protobufjs', 'ssh2']
const require = createRequire(import.meta.url)

test('T99: the lock file holds neither SSH nor gRPC, under any other package either', () => {
  const lock = JSON.parse(readFileSync(join(repositoryRoot, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { link?: boolean; resolved?: string }>
  }
  const found = Object.entries(lock.packages).filter(([path]) =>
    ABSENT.some((name) => path.endsWith(`node_modules/${name}`)),
  )
  expect(found).toEqual(
    ABSENT.map((name) => [
      `node_modules/${name}`,
      { resolved: `hub/work/sandbox/absent/${name.split('/').at(-1)}`, link: true },
    ]),
  )
})

test('an engine at ssh:// fails by name', async () => {
  const docker = new Docker({ protocol: 'ssh', host: '127.0.0.1', username: 'nobody' })
  await expect(async () => docker.ping()).rejects.toThrow(/^Client is left out of the hub: .* without ssh:/)
})

test.each(ABSENT)('%s fails by name', (name) => {
  const absent = require(name) as Record<string, new () => unknown>
  expect(() => new (absent.Server as new () => unknown)()).toThrow(/^Server is left out of the hub/)
})
