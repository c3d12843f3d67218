// What tests run in pods: `/program WORD…` does one word after the other.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	for i := 1; i < len(os.Args); i++ {
		switch word := os.Args[i]; word {
		case "wait": // until it is asked to end
			<-told
			fmt.Println("told to end")
		case "stubborn":
			for range told {
				fmt.Println("heard, and stays")
			}
		case "eat":
			eat()
		case "serve": // until it is asked to end, 200 to whatever is asked
			go func() {
				<-told
				os.Exit(0)
			}()
			panic(http.ListenAndServe(":8888", http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
				fmt.Fprintln(answer, "stub")
			})))
		case "stub": // what the contract of backends runs
			stub(os.Args[i+1:], told)
		case "say": // this and nothing else, not even a line's end
			fmt.Print(os.Args[i+1])
			return
		case "die": // by a signal
			if err := syscall.Kill(os.Getpid(), syscall.Signal(atoi(os.Args[i+1]))); err != nil {
				panic(err)
			}
			select {} // until it comes
		case "exit":
			os.Exit(atoi(os.Args[i+1]))
		default:
			fmt.Println(word)
		}
	}
}

// Memory without end.
func eat() {
	var all [][]byte
	for {
		piece := make([]byte, 16<<20)
		for j := 0; j < len(piece); j += 4096 {
			piece[j] = 1
		}
		all = append(all, piece)
		time.Sleep(time.Millisecond)
	}
}
