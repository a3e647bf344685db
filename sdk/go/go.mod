module dtf.example/sdk/go

go 1.19
