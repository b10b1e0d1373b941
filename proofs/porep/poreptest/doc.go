// Package poreptest gives tests a sector's files in memory (File, Files) and
// quickly sealed small sectors (Seal, SealData), for the packages that prove,
// update and wrap sealed sectors.
//
// It is for tests only: it keeps nothing on disk, its files never fail, and its
// tickets and seeds are constants.
package poreptest
