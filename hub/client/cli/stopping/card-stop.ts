/** `hub shutdown --card FILE`: the backup contact's own way, for any account; needs no home. It is `hub-stop`, with the words from a file. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { EXIT } from '../../problem.ts'
import type { Alone } from '../command.ts'

export const stopByCard: Alone = (_at, _args, { card }) => {
  const script = fileURLToPath(new URL('../../../../scripts/hub-stop', import.meta.url))
  return new Promise((resolve, reject) => {
    const child = spawn(script, ['--card', String(card)], { stdio: 'inherit' })
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? EXIT.fault))
  })
}
