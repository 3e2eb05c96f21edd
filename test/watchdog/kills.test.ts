/** The real watchdog killed again and again, each time at another moment, with either slot of its state torn in between (T89). */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { openState } from '../../watchdog/act/state-file.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { pathsOf } from '../../watchdog/base/home.ts'
import { SLOT_BYTES } from '../../watchdog/base/slot.ts'
import { exchange } from '../../watchdog/base/wire.ts'
import { makeHome } from '../support/watchdog-home.ts'

const MAIN = path.join(import.meta.dirname, '../../watchdog/main.ts')
const KILLS = 20

const home = makeHome()
const paths = pathsOf(home.home)
const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  home.remove()
})

async function start(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN, '--home', home.home], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve)
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)))
  })
  return child
}
const kill = (child: ChildProcess) =>
  new Promise((resolve) => {
    child.once('exit', resolve)
    child.kill('SIGKILL')
  })
const stateNow = () => {
  const file = openState(paths.state, 1)
  file.close()
  return file.found
}
/** Half of one slot overwritten, whichever of the two is in force. */
function tear(slot: 0 | 1): void {
  const fd = openSync(paths.state, 'r+')
  const bytes = randomBytes(SLOT_BYTES / 2)
  writeSync(fd, bytes, 0, bytes.length, slot * SLOT_BYTES)
  closeSync(fd)
}

test('T89: twenty kills and torn slots later it still knows who stopped everything and when the operator was last there', async () => {
  writeFileSync(
    path.join(paths.own, 'config.json'),
    JSON.stringify({ port: 0, intervalMs: 50, engineSocket: path.join(home.home, 'none') }),
  )
  expect(spawnSync(process.execPath, [MAIN, '--home', home.home, '--init']).status).toBe(0)
  const first = await start()
  const body = JSON.stringify({ reason: 'smoke', by: 'contact' })
  const asked = {
    socketPath: paths.socket,
    method: 'POST',
    path: '/v1/shutdown',
    body,
    deadlineMs: 60_000,
    bytesMax: 1e6,
  } as const
  expect((await exchange(createSystemClock(), asked)).status).toBe(200)
  await kill(first)
  let epoch = stateNow()?.epoch ?? 0
  for (let turn = 0; turn < KILLS; turn += 1) {
    const child = await start()
    await sleep((turn * 37) % 160)
    await kill(child)
    const found = stateNow()
    expect(found, `after kill ${turn}`).toMatchObject({ emergency: { by: 'contact', reason: 'smoke' }, lost: false })
    expect(found?.epoch).toBeGreaterThan(epoch)
    epoch = found?.epoch ?? epoch
    if (turn % 2 === 0) {
      const slot = turn % 4 === 0 ? 0 : 1
      tear(slot)
      const left = stateNow()
      expect(left?.emergency, `slot ${slot} torn`).toMatchObject({ by: 'contact' })
      epoch = left?.epoch ?? epoch
    }
  }
})
