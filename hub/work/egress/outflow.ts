/**
 * How many bytes a submitted task and everything below it sent outward, and its limit: a permitted upstream can be told anything, so there is an end to
 * how much. Owns the table `egress_out`.
 *
 * O1. What is sent counts: path, query, headers and body of each request, and every byte of a CONNECT. A piece is counted before it goes out, and one
 *     that would pass the limit stays here.
 * O2. Attempts, restarts and children begin nothing anew. The sum is kept with the record of each request's end; after a kill what was under way is
 *     not in it.
 */
import { HubError } from '../../base/errors.ts'
import { sizeWritten } from '../../protocol/spans.ts'
import type { Store } from '../../store/database.ts'

/** Sessions whose tree is known without asking. */
const KNOWN_MAX = 4096

export interface Outflow {
  /** Counts so many more bytes of this session. Answers what refuses them, and then counts nothing. */
  take(session: string, bytes: number): HubError | undefined
  /** What would refuse so many more; counts nothing. */
  whyNot(session: string, bytes: number): HubError | undefined
  /** Keeps the sum of this session's tree. Within a transaction. */
  keep(session: string): void
}

/** Where the sums are kept, by the submitted task. */
export interface KeptSums {
  read(root: string): number
  write(root: string, bytes: number): void
  /** Runs once what was written stands; never where it was taken back. */
  afterCommit(work: () => void): void
}

export function sumsIn(store: Pick<Store, 'prepare' | 'afterCommit'>): KeptSums {
  const found = store.prepare('select bytes from egress_out where task = ?').pluck()
  // A tree that was deleted meanwhile gets no row again.
  const put = store.prepare(
    `insert into egress_out (task, bytes) select id, ? from task where id = ?
     on conflict (task) do update set bytes = excluded.bytes`,
  )
  return {
    afterCommit: store.afterCommit,
    read: (root) => (found.get(root) as number | undefined) ?? 0,
    write: (root, bytes) => void put.run(bytes, root),
  }
}

export function createOutflow(parts: {
  sums: KeptSums
  /** The submitted task above this session; undefined once nobody knows it. */
  rootOf: (session: string) => string | undefined
  /** Bytes; asked each time, because it may change. */
  limit: () => number
}): Outflow {
  const { sums, rootOf, limit } = parts
  const trees = new Map<string, { bytes: number; kept: number }>()
  const roots = new Map<string, string>()

  function treeOf(session: string) {
    const root = roots.get(session) ?? rootOf(session)
    // Its next step is refused for that.
    if (root === undefined) return { bytes: 0, kept: 0 }
    const known = trees.get(root)
    if (known !== undefined && roots.has(session)) return known
    roots.set(session, root)
    const bytes = sums.read(root)
    const tree = known ?? { bytes, kept: bytes }
    trees.set(root, tree)
    if (roots.size > KNOWN_MAX) tidy()
    return tree
  }

  /** What is kept is read again when it is needed. */
  function tidy(): void {
    for (const [root, { bytes, kept }] of trees) if (bytes === kept) trees.delete(root)
    for (const [session, root] of roots) if (!trees.has(root)) roots.delete(session)
  }

  function whyNot(session: string, bytes: number): HubError | undefined {
    const most = limit()
    const sent = treeOf(session).bytes
    if (sent + bytes <= most) return undefined
    return new HubError(
      'budget_exceeded',
      `bytes that this task and everything below it send outward: the limit is ${sizeWritten(most)}, ${sent} bytes are sent, and this would be ${bytes} more; it is egress.taskBytes in hub.yaml`,
      { facts: { measure: 'bytes' } },
    )
  }

  return {
    whyNot,
    take(session, bytes) {
      const refused = whyNot(session, bytes)
      if (refused === undefined) treeOf(session).bytes += bytes
      return refused
    },
    keep(session) {
      const root = roots.get(session)
      const tree = root === undefined ? undefined : trees.get(root)
      if (root === undefined || tree === undefined || tree.bytes === tree.kept) return
      const { bytes } = tree
      sums.write(root, bytes)
      sums.afterCommit(() => {
        tree.kept = bytes
      })
    },
  }
}
