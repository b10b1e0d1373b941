// Command soak does to a network of real processes what happens to them where
// they live, and checks at the end of each scenario that nothing was lost: no
// finished computing done twice, no window PoSt missed that healthy disks could
// make, no deal lost, no healthy sector declared faulty. `make soak-real` runs
// all of it, in hours; -short takes seconds where an operator takes minutes.
//
// What it checks it asks of the chain and of the processes' own commands, RPC
// and logs. It measures no speed and compares no releases.
package main
