/** What the shim says of a run that did not do what it should: the codes of base/run-faults.ts, where their meaning stands. Without a library: the shim reads it too. */
import { RUN_FAULTS } from '../base/run-faults.ts'

export type ResultFault = keyof typeof RUN_FAULTS
export const RESULT_FAULTS = Object.keys(RUN_FAULTS) as [ResultFault, ...ResultFault[]]
