/** What keeps the sessions of an agent from starting, all of it at once, each with what to do about it. Pure. */
import type { PolicyRow } from '../guard/policy/data.ts'
import { lackingIn, relaxOf } from '../protocol/relax.ts'
import type { Agent } from '../work/registry.ts'
import type { SecretFault } from '../work/sandbox/secrets.ts'

export interface Lack {
  what: string
  mend: string
}

/** What makes an image for an agent that has none; those of the hub itself are made together. */
export const mendOfImage = ({ place }: Agent['origin']): string =>
  place === 'package' ? 'node scripts/build-images.ts; hub agent reload' : 'hub agent build FOLDER'

export function lacksOf(
  agent: Pick<Agent, 'card' | 'imageId' | 'state' | 'reason' | 'barred' | 'doubt' | 'origin'>,
  facts: { row: PolicyRow | undefined; secretFault: (name: string) => SecretFault | undefined },
): Lack[] {
  const { card, imageId, state, reason, barred, doubt, origin } = agent
  const { row } = facts
  const { name } = card
  const lacks: Lack[] = []
  const lack = (what: string, mend: string) => void lacks.push({ what, mend })
  if (state !== 'registered') lack(`it is ${state}: ${reason}`, `hub agent reset ${name}`)
  if (imageId === undefined)
    lack(state === 'registered' ? reason : `its image ${card.image} cannot be used`, mendOfImage(origin))
  if (barred !== '') lack(barred, 'hub flag list')
  if (doubt !== undefined) lack(doubt, 'hub agent reload')
  if (row === undefined)
    lack('it has no row in policy/data.json, so nobody may give it a task', `hub agent allow ${name}`)
  else {
    if (row.suspended) lack('its row says suspended: true', 'correct policy/data.json, then hub policy reload')
    if (card.mode === 'service' && !row.service)
      lack('it is a service, and its row does not say service: true', `hub agent allow ${name}`)
    const walls = lackingIn(relaxOf(card), row.relax)
    if (walls.length > 0)
      lack(`its card asks for relax: ${walls.join(', ')}, and its row does not grant it`, `hub agent allow ${name}`)
  }
  for (const secret of card.may.secrets) {
    const fault = facts.secretFault(secret)
    if (fault !== undefined) lack(`secret ${secret}: ${fault.why}`, fault.mend)
  }
  return lacks
}
