/** The matrix on Docker 29, its images in the classic store. */
import { runMatrixOn } from '../support/engine-matrix.ts'

runMatrixOn('29-classic', 'Docker 29, images in the classic store')
