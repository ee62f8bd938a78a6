"""Brama beside its peers, measured in the same run.

    settings    what is asked for
    stage       servers started, and ended by their own ids whatever happens
    usage       CPU time and memory of a process with its children
    load        public load generators and our own client
    compare     rounds, interleaved
    results     raw figures on disk
    report      tables from them

    servers/    one file a product: how it is set up for the comparison
    dimensions/ one file a question
"""
