/** Whose number a pid file holds (X6): a process is its number and the home in its own words; what has ended and waits for its parent is none. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterEach, expect, it } from 'vitest'
import { isAlive } from '../../../../hub/client/cli/processes.ts'

const children: ReturnType<typeof spawn>[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})
const HOME = '/nowhere/a-home'

/** Starts a shell that says the number of a child it never waits for. */
function zombie(): Promise<number> {
  // The shell becomes `sleep`, which reaps nobody.
  const shell = spawn('/bin/sh', ['-c', `${process.execPath} -e 0 ${HOME} & echo $!; exec sleep 600`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  children.push(shell)
  return new Promise((resolve) => shell.stdout?.once('data', (text) => resolve(Number(String(text)))))
}

it('X6: a process is known by its number and its home, and a zombie of both is dead', async () => {
  const mine = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)', HOME], { stdio: 'ignore' })
  const other = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)', `${HOME}-2`], { stdio: 'ignore' })
  children.push(mine, other)
  await expect.poll(() => isAlive(mine.pid ?? 0, HOME)).toBe(true)
  expect(isAlive(other.pid ?? 0, HOME), 'of another home').toBe(false)
  const dead = await zombie()
  await expect.poll(() => /^State:\tZ/m.test(readFileSync(`/proc/${dead}/status`, 'utf8'))).toBe(true)
  expect(() => process.kill(dead, 0), 'the kernel still knows the number').not.toThrow()
  expect(isAlive(dead, HOME)).toBe(false)
})
