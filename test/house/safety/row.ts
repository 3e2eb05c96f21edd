/** One promise of the safety rules and the tests that prove it. The rules stand in the files beside this one, a file for each chapter. */
export interface Row {
  /** The rule in its own words, short; unique over all chapters. */
  readonly rule: string
  /** Test file below `test/`, then how the test's name begins, or a part of it that no other test of that file has. */
  readonly proofs: readonly (readonly [file: string, name: string])[]
}
