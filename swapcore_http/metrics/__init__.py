"""How busy are the models and the machine, in numbers that monitoring systems collect?"""
