/** The graph of a plan: what is before what. Pure, and linear in steps and edges but for one sorting by name. */

export interface Node {
  id: string
  /** Ids of steps that must be before it; each of them is a node. */
  before: readonly string[]
}

export type Ordered = { order: string[] } | { cycle: string[] }

/** In topological order, by id where that leaves a choice (S2-35); or the steps of a circle, each of which waits for the next, the last for the first. */
export function orderOf(nodes: readonly Node[]): Ordered {
  const left = new Map(nodes.map(({ id, before }) => [id, new Set(before).size]))
  const after = new Map<string, string[]>(nodes.map(({ id }) => [id, []]))
  for (const { id, before } of nodes) for (const each of new Set(before)) after.get(each)?.push(id)
  const free = nodes.flatMap(({ id, before }) => (before.length === 0 ? [id] : []))
  const order: string[] = []
  for (;;) {
    // A plan has 200 steps at most: looking for the least of the free ones costs less than keeping them sorted.
    let least = 0
    for (let at = 1; at < free.length; at += 1) if ((free[at] ?? '') < (free[least] ?? '')) least = at
    const [id] = free.splice(least, 1)
    if (id === undefined) break
    order.push(id)
    for (const each of after.get(id) ?? []) {
      const open = (left.get(each) ?? 0) - 1
      left.set(each, open)
      if (open === 0) free.push(each)
    }
  }
  return order.length === nodes.length ? { order } : { cycle: cycleIn(nodes, new Set(order)) }
}

/** Every node that is left waits for one that is left, so a walk along them comes back to itself. */
function cycleIn(nodes: readonly Node[], ordered: ReadonlySet<string>): string[] {
  const next = new Map(
    nodes
      .filter(({ id }) => !ordered.has(id))
      .map(({ id, before }) => [id, [...before].sort().find((each) => !ordered.has(each)) ?? '']),
  )
  const walk: string[] = []
  let id = [...next.keys()].sort()[0] ?? ''
  while (!walk.includes(id)) {
    walk.push(id)
    id = next.get(id) ?? ''
  }
  const cycle = walk.slice(walk.indexOf(id))
  // From the first by name on, so that the same circle is always told the same way.
  const first = cycle.indexOf([...cycle].sort()[0] ?? '')
  return [...cycle.slice(first), ...cycle.slice(0, first)]
}

/** Of each node all that is before it, however far. `order`: topological. */
export function upstreamOf(nodes: readonly Node[], order: readonly string[]): ReadonlyMap<string, ReadonlySet<string>> {
  const before = new Map(nodes.map((node) => [node.id, node.before]))
  const upstream = new Map<string, Set<string>>()
  for (const id of order) {
    const own = new Set<string>()
    for (const each of before.get(id) ?? []) {
      own.add(each)
      for (const further of upstream.get(each) ?? []) own.add(further)
    }
    upstream.set(id, own)
  }
  return upstream
}
