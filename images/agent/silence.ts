/**
 * Answers the hub about a program that says nothing (hub/protocol/silence.ts): only in here can be seen whether something of it works.
 *
 * 1. While any process lives that the program started, it is not silent: a compiler, a test, a server that it waits for.
 * 2. It is asked first, where its driver has a way to it: `onQuiet` of the SDK, a line `quiet` of `json-lines`. Standard input of any other is
 *    closed, or takes no word while a turn goes on; why it was ended says that it could not be asked.
 * 3. To end it: SIGTERM to its group, SIGKILL after the grace. Then its driver says that it fell, and what it left is kept (program.ts). A
 *    program in the shim's own process has no process to end: what it left is kept, and the shim ends.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { HubAgent } from '../../hub/client/agent.ts'
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import type { Child } from './child.ts'

interface Process {
  pid: number
  parent: number
  name: string
}

/** What runs, without what has ended and was not waited for. Nothing where there is no `/proc`. */
function processes(): Process[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.flatMap((pid): Process[] => {
    try {
      // The name is in parentheses, and may hold some.
      const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? []
      const [state, parent] = rest.split(' ')
      return state === 'Z' || state === 'X' ? [] : [{ pid: Number(pid), parent: Number(parent), name }]
    } catch {
      // It has ended meanwhile.
      return []
    }
  })
}

/** Those below `root`, without `program` itself. Pure. */
export function worksBelow(all: readonly Process[], root: number, program: number | undefined): Process[] {
  const found: Process[] = []
  let above = new Set([root])
  while (above.size > 0) {
    const next = all.filter(({ parent, pid }) => above.has(parent) && pid !== root)
    found.push(...next)
    above = new Set(next.map(({ pid }) => pid))
  }
  return found.filter(({ pid }) => pid !== program)
}

export interface Silence {
  /** This is the program. */
  watch(child: Child): void
  /** Why it was ended for its silence; undefined if it was not. */
  ended(): string | undefined
}

const NAMED_MAX = 3

export function createSilence(
  hub: Pick<HubAgent, 'onSilent' | 'tellQuiet' | 'log'>,
  parts: {
    /** Keeps what there is and ends the shim, where there is no program to end. */
    leave: (why: string) => void
    /** For tests. */
    list?: () => Process[]
  },
): Silence {
  const { leave, list = processes } = parts
  let program: Child | undefined
  let endedWhy: string | undefined
  let wasAsked: boolean | undefined

  hub.onSilent(({ step, why, force }) => {
    const working = force === true ? [] : worksBelow(list(), process.pid, program?.pid)
    if (working.length > 0) {
      const names = working.slice(0, NAMED_MAX).map(({ name, pid }) => `${name} (${pid})`)
      const more = working.length > NAMED_MAX ? ` and ${working.length - NAMED_MAX} more` : ''
      // A line of the log is a sign of life.
      void hub.log(`its program says nothing, and waits for ${names.join(', ')}${more}`).catch(() => {})
    } else if (step === 'ask') {
      wasAsked = hub.tellQuiet({ why })
    } else if (endedWhy === undefined) {
      const asked = wasAsked === true ? '; it was asked, and did not answer' : '; it could not be asked'
      endedWhy = `${why}${force === true || wasAsked === undefined ? '' : asked}`
      if (program === undefined) leave(endedWhy)
      else program.stop({ termAfterMs: 0, killAfterMs: STOP_GRACE_MS })
    }
  })

  return {
    watch(child) {
      program = child
    },
    ended: () => endedWhy,
  }
}
