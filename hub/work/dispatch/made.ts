/**
 * What each container was made from, kept across restarts of the hub. So a container that is taken over is compared like any other (fault
 * F21).
 *
 * M1. Written in the step that records that the container exists; removed in the step that records that it is gone.
 * M2. A body that cannot be read counts as none: nothing is compared with it, and the caller reports that.
 */
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../../guard/grant.ts'
import type { Store } from '../../store/database.ts'
import { isObject, readText } from '../../store/reading.ts'
import type { CreateBody } from '../sandbox/profile.ts'

export interface Made {
  keep(grant: Grant, session: string, body: CreateBody): void
  of(session: string): CreateBody | undefined
  drop(grant: StopGrant, session: string): void
}

export function createMade(store: Store): Made {
  const keep = store.prepare('insert or replace into session_made (session, body) values (?, ?)')
  const find = store.prepare('select body from session_made where session = ?').pluck()
  const drop = store.prepare('delete from session_made where session = ?')
  return {
    keep(grant, session, body) {
      assertGrant(grant, 'session.observe')
      keep.run(session, JSON.stringify(body))
    },
    of(session) {
      const text = find.get(session) as string | undefined
      return readText<CreateBody | undefined>(text, isObject, undefined)
    },
    drop(grant, session) {
      assertStopGrant(grant, 'session.reap')
      drop.run(session)
    },
  }
}
