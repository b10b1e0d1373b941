package groth16

import (
	"runtime"
	"sync"
)

// maxWorkers is what gnark-crypto's multi-exponentiation takes at most.
const maxWorkers = 1024

// workersOr is n, or the number of processors where n is not positive.
func workersOr(n int) int {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return min(n, maxWorkers)
}

// parallel calls work for consecutive parts of [0, n), one goroutine each, and
// returns when all are done.
func parallel(n, workers int, work func(from, to int)) {
	workers = min(workers, n)
	if workers <= 1 {
		if n > 0 {
			work(0, n)
		}
		return
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { work(n*i/workers, n*(i+1)/workers) })
	}
	wg.Wait()
}
