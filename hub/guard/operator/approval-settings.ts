/** `approvals` of hub.yaml: how long what waits for a person may wait, and what silence leads to. None of it is a yes (S2-27, S2-28). */
import { z } from 'zod'
import { ON_TIMEOUT, TIER_LIMITS, TIERS, type Tier, type TierLimit } from '../../protocol/approval.ts'
import { spanShape } from '../../protocol/spans.ts'

const WORDS: Readonly<Record<Tier, string>> = {
  read: 'what only shows something',
  write: 'what a session says or stores',
  execute: 'what starts something, and questions of agents',
  destructive: 'what governs the hub, widens rights or deletes',
  external: 'what acts outside; nothing counts as that yet',
}
const tierShape = (tier: Tier) =>
  z
    .strictObject({
      wait: spanShape
        .default(TIER_LIMITS[tier].waitMs)
        .describe('how long while no container waits for it; counted only while new work may start'),
      waitRunning: spanShape.default(TIER_LIMITS[tier].waitRunningMs).describe('how long while one does'),
      onTimeout: z
        .enum(ON_TIMEOUT)
        .default(TIER_LIMITS[tier].onTimeout)
        .describe(
          '`abort`: silence is a no; `notify`: and an alert says so; `defer`: it is asked again, at most 30 times',
        ),
    })
    .prefault({})
    .transform(
      ({ wait, waitRunning, onTimeout }): TierLimit => ({ waitMs: wait, waitRunningMs: waitRunning, onTimeout }),
    )
    .describe(WORDS[tier])

export const waitsShape = z.strictObject(
  Object.fromEntries(TIERS.map((tier) => [tier, tierShape(tier)])) as Record<Tier, ReturnType<typeof tierShape>>,
)
