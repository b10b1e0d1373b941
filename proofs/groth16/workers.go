package groth16

import (
	"runtime"
	"sync"
)

// workersOr is n, or the number of processors where n is not positive.
func workersOr(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
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
