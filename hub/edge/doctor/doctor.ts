/** A live check of everything the hub depends on. Each row has the command that fixes it (S0-26). */
import { isAbsolute } from 'node:path'
import type { Modes } from '../../guard/modes.ts'
import type { Lease } from '../../guard/operator/lease.ts'
import { floorNotes } from '../../protocol/coding-clis.ts'
import type { Registry } from '../../work/registry.ts'
import type { Secrets } from '../../work/sandbox/secrets.ts'
import { mendOfImage } from '../agent-lacks.ts'

export interface Check {
  name: string
  /** null: worth a look, but nothing is broken. */
  ok: boolean | null
  detail: string
  mend: string
}

export function createDoctor(parts: {
  /** What the hub itself depends on (host.ts). */
  host: () => Check[]
  /** Engine and version floors (engine.ts). */
  engine: () => Promise<Check[]>
  registry: Registry
  modes: Modes
  lease: Lease
  secrets: Pick<Secrets, 'faultOf'>
  /** Checks that have a file of their own. */
  more?: readonly (() => Promise<Check[]>)[]
}): () => Promise<{ checks: Check[] }> {
  const { host, engine, registry, modes, lease, secrets, more = [] } = parts

  function leaseCheck(): Check {
    const state = lease.state()
    const ok = state !== undefined && state.remainingMs > 0
    const detail =
      state === undefined
        ? 'no lease yet'
        : `${Math.round(state.remainingMs / 1000)} s left; last heartbeat ${Math.round(state.heartbeatAgeMs / 60_000)} min ago`
    return { name: 'watchdog', ok, detail, mend: 'hub up (starts the watchdog), then hub heartbeat' }
  }

  function agentChecks(): Check[] {
    const broken = registry.problems().map(({ file, line, message }) => ({
      name: `card ${file}`,
      ok: false,
      detail: `line ${line}: ${message}`,
      mend: `correct ${isAbsolute(file) ? file : `agents/${file}`}, then hub agent reload`,
    }))
    const missing = registry
      .list()
      .filter((agent) => agent.imageId === undefined || agent.state !== 'registered')
      .map(({ card, state, reason, imageId, origin }) => ({
        name: `agent ${card.name}`,
        ok: false,
        detail: `${state}: ${reason}`,
        mend: imageId === undefined ? mendOfImage(origin) : `hub task list; hub agent reset ${card.name}`,
      }))
    const another = registry
      .list()
      .filter(({ imageNote, state }) => imageNote !== '' && state === 'registered')
      .map(({ card, imageNote }) => ({
        name: `agent ${card.name}`,
        ok: null,
        detail: imageNote,
        mend: 'hub agent reload',
      }))
    const old = registry.list().flatMap(({ card, made }) =>
      floorNotes(made.packages ?? []).map((detail) => ({
        ...{ name: `agent ${card.name}`, ok: null, detail },
        mend: `write that version into image.yaml of ${card.name}, then hub agent build`,
      })),
    )
    const hidden = registry.shadowed().map(({ agent, file, by }) => ({
      ...{ name: `card ${file.shown}`, ok: null, detail: `not used: ${by.path} names ${agent} too, and comes first` },
      mend: 'give the agent another name, or remove the card',
    }))
    return [
      ...broken,
      ...missing,
      ...another,
      ...old,
      ...hidden,
      {
        name: 'agents',
        ok: registry.list().length > 0,
        detail: `${registry.list().length} registered`,
        mend: 'put a card into agents/ and run hub agent reload',
      },
    ]
  }

  /** Secrets that a card asks for and no agent could get. The values are not read. */
  function secretChecks(): Check[] {
    const wanted = new Map<string, string[]>()
    for (const { card } of registry.list())
      for (const name of card.may.secrets) wanted.set(name, [...(wanted.get(name) ?? []), card.name])
    return [...wanted].flatMap(([name, agents]) => {
      const fault = secrets.faultOf(name)
      if (fault === undefined) return []
      return [
        { name: `secret ${name}`, ok: false, detail: `${fault.why}; wanted by ${agents.join(', ')}`, mend: fault.mend },
      ]
    })
  }

  return async () => {
    const mode = modes.current()
    return {
      checks: [
        ...host(),
        ...(await engine()),
        leaseCheck(),
        {
          name: 'mode',
          ok: mode === 'normal' ? true : null,
          detail: [mode, ...modes.active().map((condition) => `${condition.name}: ends by ${condition.endsBy}`)].join(
            '; ',
          ),
          mend: 'hub status',
        },
        ...agentChecks(),
        ...secretChecks(),
        ...(await Promise.all(more.map((checks) => checks()))).flat(),
      ],
    }
  }
}
