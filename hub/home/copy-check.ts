/**
 * Opens a backup's copy of the database and checks it, on a thread of its own: the whole file is read, and the lines of agents must not wait
 * for that.
 */
import { rmSync } from 'node:fs'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'
import type { CopyVerdict } from './backup.ts'

interface Question {
  path: string
  size: number
  head: string
}

/** Answers what a look into the copy found. Rejects if it cannot be opened at all. */
export function checkCopy(path: string, { size, head }: { size: number; head: string }): Promise<CopyVerdict> {
  const asked: Question = { path, size, head }
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: asked })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the check of the copied database ended with ${code}`)))
  })
}

function look({ path, size, head }: Question): CopyVerdict {
  const copy = new Database(path, { readonly: true })
  try {
    const integrity = String(copy.pragma('quick_check(1)', { simple: true }))
    const tables = copy
      .prepare(
        `select m.name from sqlite_schema m where m.type = 'table' and m.name like 'audit%'
         and (select count(*) from pragma_table_info(m.name) where name in ('seq', 'hash')) = 2`,
      )
      .pluck()
      .all() as string[]
    const has = (table: string) =>
      copy.prepare(`select 1 from "${table}" where seq = ? and hash = ?`).get(size, head) !== undefined
    // The newest record may be in a month whose table has gone into its signed file.
    const ended = copy.prepare('select 1 from audit_month where last_seq = ? and head = ?').get(size, head)
    const artifacts = copy.prepare('select distinct sha256 from artifact').pluck().all() as string[]
    return { integrity, hasHead: size === 0 || ended !== undefined || tables.some(has), artifacts }
  } finally {
    copy.close()
    for (const ending of ['-wal', '-shm']) rmSync(`${path}${ending}`, { force: true })
  }
}

if (!isMainThread && parentPort !== null && (workerData as Partial<Question> | null)?.path !== undefined)
  parentPort.postMessage(look(workerData as Question))
