/**
 * Loaded before the hub's own program (`node --import`): numbers every step of the process that something outside can see, and ends the
 * process at the step of the number `HUB_CRASH_AT`, as kill -9 does. The steps: before and after each commit, each engine call, each
 * rename and sync of a file, each removal of a socket.
 *
 * Counting begins with the first task that is written, or at once where `HUB_CRASH_FROM=start`. With `HUB_CRASH_LOG` every step is
 * written there with its name, so that a first run that is left alone says how many there are.
 */
import fs from 'node:fs'
import http from 'node:http'
import { createRequire, syncBuiltinESMExports } from 'node:module'

const { HUB_CRASH_AT, HUB_CRASH_LOG, HUB_CRASH_FROM } = process.env
const crashAt = Number(HUB_CRASH_AT ?? 0)
if (HUB_CRASH_AT !== undefined || HUB_CRASH_LOG !== undefined) arm()

function arm(): void {
  let counting = HUB_CRASH_FROM === 'start'
  let steps = 0
  const append = fs.appendFileSync
  function step(name: string): void {
    if (!counting) return
    steps += 1
    if (HUB_CRASH_LOG !== undefined) append(HUB_CRASH_LOG, `${name}\n`)
    if (steps === crashAt) process.kill(process.pid, 'SIGKILL')
  }

  const Database = createRequire(import.meta.url)('better-sqlite3') as {
    prototype: { prepare(sql: string): { run(...values: unknown[]): unknown } }
  }
  const prepare = Database.prototype.prepare
  /** The last thing written in the open transaction names its commit. */
  let written = ''
  Database.prototype.prepare = function (sql) {
    const statement = prepare.call(this, sql)
    const run = statement.run.bind(statement)
    const change = /^\s*(insert into|insert or \w+ into|update|delete from) (\w+)/i.exec(sql)
    const told = change === null ? '' : `${change[1]} ${change[2]}`
    const isCommit = /^\s*commit/i.test(sql)
    if (change === null && !isCommit) return statement
    statement.run = (...values) => {
      if (change?.[2] === 'task' && change[1] === 'insert into') counting = true
      // Every transaction ends with its audit record.
      if (change !== null && change[2] !== 'audit_record') written = told
      if (change !== null && change[2] === 'audit_record') written = `${written}, ${String(values[6])}`
      if (!isCommit) return run(...values)
      const name = written
      written = ''
      step(`commit (${name}) before`)
      const done = run(...values)
      step(`commit (${name}) after`)
      return done
    }
    return statement
  }

  const request = http.request
  http.request = ((...words: Parameters<typeof request>) => {
    const { method = 'GET', path = '' } = words[0] as http.RequestOptions
    const bare =
      String(path)
        .split('?')[0]
        ?.replace(/^\/v[\d.]+/, '')
        .replace(/[0-9a-f]{64}|hub-[a-z0-9-]+/, 'ID') ?? ''
    // What is asked all the time by itself is no step of a task.
    const counts = !/^\/(?:events|containers\/json|_ping|version|info)/.test(bare)
    if (counts) step(`engine ${method} ${bare} before`)
    const sent = request(...words)
    if (counts) sent.prependListener('response', () => step(`engine ${method} ${bare} after`))
    return sent
  }) as typeof request

  const named = (path: unknown) =>
    String(path)
      .split('/')
      .at(-1)
      ?.replace(/^s[a-z2-7]{15}$/, 'SESSION') ?? ''
  const open = new Map<number, string>()
  const openSync = fs.openSync
  fs.openSync = ((path, ...more) => {
    const file = openSync(path, ...more)
    open.set(file, named(path))
    return file
  }) as typeof openSync
  const around = (verb: 'renameSync' | 'fsyncSync' | 'unlinkSync' | 'rmdirSync') => {
    const act = fs[verb] as (...words: unknown[]) => unknown
    const counted = (...words: unknown[]) => {
      const name = typeof words[0] === 'number' ? open.get(words[0]) : named(words[0])
      step(`${verb} ${name} before`)
      const done = act(...words)
      step(`${verb} ${name} after`)
      return done
    }
    Object.assign(fs, { [verb]: counted })
  }
  for (const verb of ['renameSync', 'fsyncSync', 'unlinkSync', 'rmdirSync'] as const) around(verb)
  syncBuiltinESMExports()
}
