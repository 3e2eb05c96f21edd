/**
 * What a build makes on its way and must not leave behind: folders of work, and containers to look into. Each goes when it is done with; a build that is
 * stopped by a signal takes back all of them first. After a kill that lets nothing run, the next build removes them: their names say whose they are.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'

type TakeBack = () => unknown

const open = new Set<TakeBack>()

/** Keeps it in mind until the answer is called, which also takes it back. */
export function untilDone<Result>(takeBack: () => Result): () => Result {
  open.add(takeBack)
  return () => {
    open.delete(takeBack)
    return takeBack()
  }
}

/** Takes back everything that is open, also what is begun meanwhile. What cannot be taken back does not hold up the rest. */
export async function takeAllBack(): Promise<void> {
  while (open.size > 0) {
    const each = [...open]
    open.clear()
    await Promise.allSettled(each.map(async (takeBack) => takeBack()))
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Among whom a process id counts: a container of its own with this checkout or this engine in it has other ones. */
const PIDS = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0'
/** What the name of a thing of this process ends with, but for what makes it its own. */
export const OWNER = `${PIDS}-${process.pid}`

/** Whether a thing of this name is of a build that has ended. */
export function isOrphan(name: string): boolean {
  const [, pids, pid] = /^(?:stage|from|packages|hub-build)-(\d{1,12})-(\d{1,10})-[A-Za-z0-9]{6}$/.exec(name) ?? []
  return pids === PIDS && !isAlive(Number(pid))
}

/** Removes folders of work in `parent` whose process has ended. */
export function removeOrphans(parent: string): void {
  for (const name of existsSync(parent) ? readdirSync(parent) : [])
    if (isOrphan(name)) rmSync(join(parent, name), { recursive: true, force: true })
}

/** A new folder in `parent`, whose name says what it is for and which process works in it. */
export function workFolder(parent: string, kind: 'stage' | 'from' | 'packages'): Disposable & { path: string } {
  mkdirSync(parent, { recursive: true })
  const path = mkdtempSync(join(parent, `${kind}-${OWNER}-`))
  const remove = untilDone(() => rmSync(path, { recursive: true, force: true }))
  return { path, [Symbol.dispose]: remove }
}
