/**
 * A session's own user on the real engine: programs that ask who they are get a name (fault F14), and a hub that comes after takes each session
 * over as it was made, user and labels, or ends it (fault F21).
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { imageOf, layerOf } from '../../scripts/images/archive.ts'
import { archOf, librariesOf } from '../../scripts/images/machine.ts'
import { type ContainerHome, openContainerHome, resultOf, type Session, until } from '../support/container-home.ts'
import { updateContainer } from '../support/engine-socket.ts'
import { load, spyImage } from '../support/spy-image.ts'

const GIT = '/usr/bin/git'
const run = ['node', '/app/test/support/images/spy/main.js']
const withGit = {
  name: 'spy-git',
  description: 'Asks who it is, as git does',
  image: 'hub-test/spy-git',
  run,
  limits: { ttl: '5m', memory: '256MiB' },
}
const survivor = {
  name: 'spy-survivor',
  description: 'Goes on while there is no hub',
  image: 'hub-test/spy',
  run,
  restarts: 0,
  limits: { ttl: '20m', memory: '128MiB', pids: 64 },
}
const altered = { ...survivor, name: 'spy-altered' }

let home: ContainerHome
beforeAll(async () => {
  const spy = spyImage()
  const images = [spy]
  if (existsSync(GIT)) {
    const present = librariesOf(process.execPath)
    const libraries = librariesOf(GIT).filter((path) => !present.includes(path))
    const files = [GIT, ...libraries].map((path) => ({
      ...{ path: path.slice(1), kind: 'file' as const, mode: 0o755 },
      data: readFileSync(path),
    }))
    images.push(imageOf('hub-test/spy-git:latest', [...spy.layers, layerOf('git of this machine', files)], archOf()))
  }
  await load(images)
  home = await openContainerHome({ cards: [withGit, survivor, altered] })
})
afterAll(() => home?.close())

test.skipIf(!existsSync(GIT))(
  'fault F14: git makes a repository, commits and is at ease with its owner, under the name that the image gives to this user',
  async () => {
    // The first has the first user of the range; the second shows that it is no matter which.
    const first = await home.place('spy-survivor', { what: 'idle' })
    const steps = resultOf<Record<string, string>>(await home.run('spy-git', { what: 'git' }))
    await home.hub('session', 'stop', first.id)
    const version = execFileSync(GIT, ['--version'], { encoding: 'utf8' }).trim()
    expect(steps).toEqual({
      version: `0 ${version}`,
      init: '0',
      add: '0',
      commit: '0',
      status: '0',
      owner: expect.stringMatching(/^agent\d{1,3}$/),
      log: expect.stringMatching(/^0 agent <agent\d{1,3}@example\.net> by agent$/),
    })
    expect(steps.log).toContain(` <${steps.owner}@`)
  },
)

describe('fault F21: a hub is killed and another one comes', () => {
  type Shown = { Config: { User: string; Labels: unknown }; HostConfig: object; State: { Pid: number } }
  const shown = async ({ containerId }: Session) => {
    const { Config, HostConfig, State } = (await home.engine.inspect(containerId)) as Shown
    const ids = /^Uid:\s+(.*)$/m.exec(readFileSync(`/proc/${State.Pid}/status`, 'utf8'))?.[1]
    return { user: Config.User, labels: Config.Labels, host: HostConfig, pid: State.Pid, ids: ids?.split(/\s+/) }
  }
  const exitOf = async ({ id }: Session): Promise<unknown> => {
    const ended = () => home.session(id)
    return (await until(`the end of ${id}`, ended, ({ exit }) => exit !== null && exit !== undefined)).exit
  }

  test('each session keeps process, user and labels and passes every check; one that a hand has changed meanwhile is ended for it', async () => {
    const kept = await home.place('spy-survivor', { what: 'idle' })
    const changed = await home.place('spy-altered', { what: 'idle' })
    const before = await shown(kept)
    const [user = ''] = before.user.split(':')
    expect(before.ids).toEqual([user, user, user, user])
    expect((await shown(changed)).user).not.toBe(before.user)
    process.kill(home.hubPid, 'SIGKILL')
    await updateContainer(changed.containerId, { Memory: 512 * 1024 ** 2, MemorySwap: 512 * 1024 ** 2, PidsLimit: 500 })
    await home.startHub()

    expect(await exitOf(changed)).toBe('security')
    const there = async () => (await home.engine.list(home.instance)).map(({ session }) => session)
    // The canary of this start passes by; nothing else comes.
    await until('it alone is left', there, (left) => left.join() === kept.id)
    expect(await shown(kept)).toEqual(before)
    expect((await home.hub('session', 'show', kept.id, '--hardening')).code).toBe(0)
  })

  test('one that a hand changes later is found by the round of a minute, and ended for it', {
    timeout: 600_000,
  }, async () => {
    const [kept] = await home.json<Session[]>('session', 'list')
    if (kept === undefined) throw new Error('the session that was taken over is gone')
    await updateContainer(kept.containerId, { PidsLimit: 500 })
    expect(await exitOf(kept)).toBe('security')
    const { task } = await home.json<{ task: object }>('task', 'show', kept.task)
    expect(task).toMatchObject({ state: 'failed', error: { detail: expect.stringContaining('PidsLimit is 500') } })
    await until(
      'nothing is left',
      () => home.engine.list(home.instance),
      (left) => left.length === 0,
    )
  })
})
