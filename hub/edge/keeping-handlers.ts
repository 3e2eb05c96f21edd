/** A handler for each operation on what the hub keeps: keys, devices, links to the console, alerts, the audit log, backups, money, old files. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import type { ConsoleLinks } from '../guard/identity/console-links.ts'
import { createBackup } from '../home/backup.ts'
import { checkCopy } from '../home/copy-check.ts'
import type { Answer } from '../protocol/answers.ts'
import { type Proposals, proposalView } from '../work/egress/proposals.ts'
import type { Work } from '../work/work.ts'
import type { Address } from './people/reach.ts'
import { alertHandlers } from './routes/alerts.ts'
import { auditHandlers } from './routes/audit.ts'
import { backupHandlers } from './routes/backup.ts'
import { budgetHandlers } from './routes/budget.ts'
import { consoleHandlers } from './routes/console.ts'
import { deviceHandlers } from './routes/devices.ts'
import { flagHandlers } from './routes/flags.ts'
import { keyHandlers } from './routes/keys.ts'
import { retentionHandlers } from './routes/retention.ts'
import { type Handlers, handler } from './serve.ts'
import type { WatchdogLink } from './watchdog/link.ts'

export interface KeepingHandlerParts {
  clock: Clock
  log: Log
  guard: Guard
  work: Pick<Work, 'upkeep' | 'tasks' | 'money'>
  proposals: Pick<Proposals, 'list'>
  address: Address
  links: ConsoleLinks
  watchdog: WatchdogLink
  config: () => Answer<'config.show'>
}

/** `publicUrl`: what links begin with if the hub is reached from outside. */
export function keepingHandlers(
  { home, publicUrl }: { home: string; publicUrl: string | undefined },
  parts: KeepingHandlerParts,
): Handlers {
  const { clock, log, guard, work, address, links, watchdog, config } = parts
  const { store, audit, checkpoints, verifier, shownHeads, credentials, alerts, host } = guard
  const { pauses, retention } = work.upkeep
  return {
    ...keyHandlers({ keyRing: guard.keyRing }),
    ...flagHandlers({ flags: guard.flags }),
    'egress.proposals': handler({
      resource: () => 'egress',
      effect: () => ({ proposals: parts.proposals.list().map(proposalView) }),
    }),
    ...deviceHandlers({ credentials, nowMs: host.steady.wallMs, base: () => publicUrl ?? address.base() }),
    ...consoleHandlers({ links, credentials, base: address.base }),
    ...backupHandlers({
      makeBackup: createBackup({ home, clock, log, audit, copyDatabase: store.copy, checkCopy }),
      pauses,
    }),
    ...budgetHandlers({ money: work.money }),
    ...retentionHandlers({ retention }),
    'config.show': handler({ effect: () => undefined, after: config }),
    ...auditHandlers({
      ...{ audit, checkpoints, verifier, show: guard.auditShow.show, onShown: shownHeads.note },
      sessionsOf: (task) => work.tasks.attempts(task).flatMap(({ session }) => session ?? []),
      childrenOf: (task) => work.tasks.children(task).map(({ id }) => id),
      onExported: (isLast) => pauses.piece('an audit export', isLast),
    }),
    ...alertHandlers({ alerts, delivery: guard.alertDelivery, testAtWatchdog: watchdog.testAlerts }),
  }
}
