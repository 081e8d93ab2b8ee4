"""The CycleGAN of notebook 05c on one's own photographs, on a bigger machine.

    python -m tools.photos summer/ winter/ --size 128 --steps 20000 --out run/

Networks, losses, recipe and training loop are the notebook's own (`loop.py` says how it is led);
nothing of them stands here. Lightning Fabric runs it: on one processor, one GPU or all that there
are, in mixed precision, and over several machines. Of the two engines in question it was chosen
over Hugging Face Accelerate because it starts the processes of a machine by itself, so that the
command above is the same for one GPU and for eight, and because it brings no client of a model hub.
"""
