/** `hub agent drivers`: how the programs of agents are run, and what each way can do. It needs no hub. */
import { canDo, DRIVER_NAMES, DRIVERS, FEATURES, type Feature } from '../../../protocol/drivers.ts'
import { EXIT } from '../../problem.ts'
import type { Alone } from '../command.ts'
import { columns, jsonText } from '../text.ts'

const NAMES = Object.keys(FEATURES) as Feature[]

export const drivers: Alone = async ({ json, terminal }) => {
  const rows = DRIVER_NAMES.map((name) => ({
    ...{ name, how: DRIVERS[name].how },
    features: Object.fromEntries(NAMES.map((feature) => [feature, canDo(name, feature)])),
  }))
  if (json) terminal.out(jsonText({ drivers: rows }))
  else {
    const cells = rows.map(({ name, how }) => [name, NAMES.filter((each) => canDo(name, each)).join(', ') || '-', how])
    terminal.out(columns(['DRIVER', 'CAN', 'HOW IT RUNS'], cells, terminal.paint))
    for (const each of NAMES) terminal.note(`${each}: ${FEATURES[each]}`)
  }
  return EXIT.done
}
